"""What a training run is told: one frozen configuration that travels as JSON.

In: numbers and a `VQVAEConfig`. Out: `TrainConfig`, validated when made. Must not import the loop.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from certvq.errors import OptionError
from certvq.models import VQVAEConfig

Precision = Literal["32-true", "bf16-mixed"]
"""float32 throughout, or bfloat16 where autocast allows it; codes are certified under both."""

_BUDGET = ("steps", "seconds", "validate_every", "checkpoint_every")
_OPTIMISER = ("learning_rate", "gradient_clip")
_WHOLE = ("steps", "batch_size", "crop", "validate_every", "checkpoint_every")


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of one training run.

    The learning rate rises over the first 2 % of the budget and falls along a cosine over the rest,
    where the budget is whichever of `steps` and `seconds` is nearer to its end.

    Attributes:
        model: the architecture.
        steps: optimiser steps at most, from 1 on; None for no limit.
        seconds: wall-clock time at most, resumed parts counted in, above 0; None for no limit.
        batch_size: crops per step, from 1 on.
        crop: side of the square crops in pixels, at least the model's downsampling.
        learning_rate: the peak of the schedule, above 0.
        seed: of the weights, the crops and the codebook's start, in ``range(2**32)``.
        precision: "32-true" or "bf16-mixed".
        gradient_clip: greatest Euclidean norm of the gradient that a step may have, above 0.
        validate_every: steps between two passes over the validation set, from 1 on.
        checkpoint_every: steps between two checkpoints, from 1 on.

    Raises:
        OptionError: a value is out of its range, or neither `steps` nor `seconds` is given.

    Example:
        >>> TrainConfig(steps=10, seconds=None).batch_size
        16
    """

    model: VQVAEConfig = field(default_factory=VQVAEConfig.small)
    steps: int | None = None
    seconds: float | None = 150.0
    batch_size: int = 16
    crop: int = 64
    learning_rate: float = 4e-3
    seed: int = 0
    precision: Precision = "32-true"
    gradient_clip: float = 1.0
    validate_every: int = 250
    checkpoint_every: int = 250

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None:
            text = "a training run needs an end: give steps, seconds or both, got neither"
            raise OptionError(text)
        for name in _WHOLE:
            _require_whole(name, getattr(self, name))
        for name in ("seconds", "learning_rate", "gradient_clip"):
            _require_positive(name, getattr(self, name))
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise OptionError(f"seed must be a whole number in range(2**32), got {self.seed!r}")
        if self.precision not in get_args(Precision):
            text = f"precision must be one of {get_args(Precision)}, got {self.precision!r}"
            raise OptionError(text)
        if self.crop < self.model.downsampling:
            text = (
                f"crop must be at least the model's downsampling of {self.model.downsampling} "
                f"pixels, got {self.crop}"
            )
            raise OptionError(text)

    def to_json(self) -> dict[str, Any]:
        """Describe the configuration in JSON's own types.

        Returns:
            One entry per field; `model` is a nested object.

        Example:
            >>> TrainConfig.from_json(TrainConfig(seed=3).to_json()).seed
            3
        """
        return asdict(self) | {"model": self.model.to_json()}

    @staticmethod
    def from_json(content: object) -> "TrainConfig":
        """Read back what `to_json` wrote.

        Args:
            content: the parsed JSON.

        Returns:
            The configuration.

        Raises:
            OptionError: not an object, an unknown or missing field, or a value out of its range.
        """
        own = _only_fields(content)
        try:
            model = VQVAEConfig.from_json(own.pop("model"))
        except OptionError as error:
            raise OptionError(f"its field model: {error}") from error
        return TrainConfig(model=model, **own)

    def differences(self, other: "TrainConfig") -> list[str]:
        """Name the fields that make `other` another run than this one.

        The budget (`steps`, `seconds`, `validate_every`, `checkpoint_every`) and the optimiser's
        settings (`learning_rate`, `gradient_clip`) may change when a run is resumed; what decides
        about shapes, numbers and crops may not.

        Args:
            other: the configuration that the run is to be resumed with.

        Returns:
            One text per field, such as ``"seed (0, not 1)"``; empty if it is the same run.
        """
        same = {*_BUDGET, *_OPTIMISER}
        mine, theirs = asdict(self), asdict(other)
        pairs = [(name, mine[name], theirs[name]) for name in mine if name != "model"]
        pairs += [(f"model.{k}", v, theirs["model"][k]) for k, v in mine["model"].items()]
        return [f"{name} ({a!r}, not {b!r})" for name, a, b in pairs if name not in same and a != b]


def _require_whole(name: str, value: int | None) -> None:
    if value is None and name == "steps":
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise OptionError(f"{name} must be a whole number from 1 on, got {value!r}")


def _require_positive(name: str, value: float | None) -> None:
    if value is None and name == "seconds":
        return
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise OptionError(f"{name} must be a finite number above 0, got {value!r}")


def _only_fields(content: object) -> dict[str, Any]:
    known = {entry.name for entry in fields(TrainConfig)}
    if not isinstance(content, dict):
        text = f"a training configuration must be a JSON object, got {type(content).__name__}"
        raise OptionError(text)
    if set(content) != known:
        text = (
            f"a training configuration must have the fields {sorted(known)}; missing "
            f"{sorted(known - set(content))}, unknown {sorted(set(content) - known)}"
        )
        raise OptionError(text)
    return dict(content)
