"""What makes a data set: the model, its codebooks, the preprocessing, the arguments, the inputs.

In: a module, its codebooks, JSON. Out: a `Job` whose digests were computed here, and in what two
jobs differ. Must not read or write files.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, cast

import numpy as np
from torch import nn

from certvq._files.json import dumps
from certvq._types import Array
from certvq._version import __version__
from certvq.errors import DigestMismatchError, OptionError, ShapeError
from certvq.models import codebook_digest, model_digest
from certvq.tokens._record import AXES, RUNGS, WAYS, is_digest

_LARGEST: Final = 1 << 63
_SIDE = "side_numbers"  # among the arguments, so that jobs without it are as they were
_SHOWN = 5  # differences that are named
_MADE = "a Job is made by Job.of(model, codebooks, ...), which computes its digests"


@dataclass(frozen=True)
class TokenCodebook:
    """One codebook of a data set: its number of codes, and the SHA-256 of its vectors or levels."""

    size: int
    sha256: str


@dataclass(frozen=True, init=False)
class Job:
    """What the bytes of a data set are a function of; made by `Job.of` alone.

    Attributes:
        modality: "image", "audio", "video" or "latent".
        model_sha256: `certvq.models.model_digest` of the module.
        codebooks: one for each code of a token, in the order of the last axis.
        preprocessing: what is done to an input before the model sees it, as JSON.
        arguments: all else that decides about the tokens, as JSON.
        inputs: one text for each part; part number i is made of `inputs[i]`.
        versions: of the libraries that make the numbers and the bytes.
    """

    modality: str
    model_sha256: str
    codebooks: tuple[TokenCodebook, ...]
    preprocessing: Mapping[str, Any]
    arguments: Mapping[str, Any]
    inputs: tuple[str, ...]
    versions: Mapping[str, str]

    def __init__(self, *_: object, **__: object) -> None:
        raise OptionError(_MADE)

    @staticmethod
    def of(
        model: nn.Module,
        codebooks: Sequence[Array],
        *,
        modality: str,
        inputs: Sequence[str],
        preprocessing: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        side: bool = False,
    ) -> "Job":
        """Compute the digests of a model and its codebooks, and record them with all else.

        Args:
            model: the module that makes the codes.
            codebooks: one for each code of a token: code vectors (K, D), or the levels (D,) of a
                grid, whole numbers whose product is K.
            modality: "image", "audio", "video" or "latent".
            inputs: what the parts are made of, one text each.
            preprocessing: JSON, such as the size and the sampling rate.
            arguments: JSON; nothing that leaves the tokens as they are, such as a batch size.
            side: whether inputs have numbers beside their codes; see `TokenRecord`. Recorded among
                the arguments.

        Raises:
            OptionError: unknown modality, no codebook, one of more than 2^63 codes, a value that
                is no JSON.
            ShapeError: a codebook is neither (K, D) nor (D,).
        """
        if modality not in AXES:
            raise OptionError(f"modality must be one of {', '.join(AXES)}, got {modality!r}")
        if not codebooks:
            raise OptionError("codebooks must hold at least one codebook, got none")
        fields = {
            "modality": modality,
            "model_sha256": model_digest(model),
            "codebooks": [vars(_described(codebook)) for codebook in codebooks],
            "preprocessing": _json("preprocessing", preprocessing or {}),
            "arguments": _json("arguments", arguments or {}) | ({_SIDE: True} if side else {}),
            "inputs": [str(text) for text in inputs],
            "versions": {"certvq": __version__} | {n: version(n) for n in _LIBRARIES},
        }
        return job_of(fields)

    @property
    def sha256(self) -> str:
        """Digest of all that is recorded."""
        return json_digest(fields_of(self))

    @property
    def preprocessing_sha256(self) -> str:
        """Digest of `preprocessing`."""
        return json_digest(self.preprocessing)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each codebook."""
        return tuple(codebook.size for codebook in self.codebooks)

    @property
    def canonical(self) -> bool:
        """Whether the codes are those of the network over the real numbers."""
        return "canonical" in self.arguments

    @property
    def side(self) -> bool:
        """Whether inputs have numbers beside their codes, which their decoder needs."""
        return self.arguments.get(_SIDE) is True

    @property
    def ways(self) -> tuple[str, ...]:
        """How codes may be decided: the keys of `decided_by`, in order."""
        return RUNGS if self.canonical else WAYS

    def with_versions(self, versions: Mapping[str, str]) -> "Job":
        """Return the same job, as it would be with other versions of the libraries."""
        return job_of(fields_of(self) | {"versions": dict(versions)})

    def require_same(self, model: nn.Module, codebooks: Sequence[Array]) -> None:
        """Require the model and the codebooks of this job, as a worker that loaded them must.

        Raises:
            DigestMismatchError: one of them is another; it is named.
        """
        found = [("model", self.model_sha256, model_digest(model))]
        given = [_described(codebook).sha256 for codebook in codebooks]
        wanted = [codebook.sha256 for codebook in self.codebooks]
        names = [f"codebook {number}" for number in range(max(len(wanted), len(given)))]
        padded = [none + ["no"] * (len(names) - len(none)) for none in (wanted, given)]
        for name, expected, got in [*found, *zip(names, *padded, strict=True)]:
            if expected != got:
                raise DigestMismatchError(
                    f"the job is of the {name} {expected[:12]}, but this process has {got[:12]}; "
                    "give all workers the same files and versions"
                )


_LIBRARIES = ("torch", "numpy", "pyarrow")


def job_of(fields: Mapping[str, Any]) -> Job:
    """Make a job of the JSON that `fields_of` gave.

    Raises:
        ValueError: it is none.
    """
    try:
        job = object.__new__(Job)
        values = dict(fields)
        values["codebooks"] = tuple(TokenCodebook(**each) for each in fields["codebooks"])
        values["inputs"] = tuple(fields["inputs"])
        whole = (
            values.keys() == Job.__dataclass_fields__.keys()
            and values["modality"] in AXES
            and len(values["codebooks"]) > 0
            and all(isinstance(text, str) for text in values["inputs"])
            and all(isinstance(values[name], dict) for name in _OBJECTS)
            and all(type(c.size) is int and 0 < c.size <= _LARGEST for c in values["codebooks"])
            and is_digest(values["model_sha256"])
            and all(is_digest(c.sha256) for c in values["codebooks"])
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(_NO_JOB) from error
    if not whole:
        raise ValueError(_NO_JOB)
    for name, value in values.items():
        object.__setattr__(job, name, value)
    return job


_OBJECTS = ("preprocessing", "arguments", "versions")
_NO_JOB = "the job lacks a field, or a field is of another kind"


def fields_of(job: Job) -> dict[str, Any]:
    """Return a job as JSON."""
    return vars(job) | {
        "codebooks": [vars(codebook) for codebook in job.codebooks],
        "inputs": list(job.inputs),
    }


def json_digest(value: Any) -> str:
    """Return the SHA-256 of JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def differences(there: Job, given: Job) -> str:
    """Say in what two jobs differ, or nothing.

    Example:
        "arguments.rate is 24000 there, given is 48000; inputs.2 is 'c.tar' there, given is none"
    """
    one, other = (dict(_leaves("", fields_of(job))) for job in (there, given))
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    texts = [f"{n} is {_shown(one, n)} there, given is {_shown(other, n)}" for n in names[:_SHOWN]]
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return "; ".join(texts + more)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    entries = value.items() if isinstance(value, Mapping) else None
    if isinstance(value, list | tuple):
        entries = enumerate(cast("Sequence[Any]", value))
    if entries is None:
        yield name, value
        return
    for key, entry in entries:
        yield from _leaves(f"{name}.{key}" if name else str(key), entry)


def _shown(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "none"
    value = values[name]
    return value[:12] if name.endswith("sha256") else f"{value!r:.80}"


def _described(codebook: Array) -> TokenCodebook:
    shape = tuple(codebook.shape)
    if len(shape) == 2 and shape[0] > 0:
        return TokenCodebook(int(shape[0]), codebook_digest(codebook))
    whole = "int" in str(codebook.dtype)
    if len(shape) != 1 or not whole or not shape[0]:
        raise ShapeError(
            "a codebook must have the shape (K, D), or (D,) and hold the numbers of levels of a "
            f"grid, got {shape} of {codebook.dtype}"
        )
    levels = [int(level) for level in codebook]
    size = math.prod(levels)
    if min(levels) < 1 or size > _LARGEST:
        raise OptionError(f"levels must be at least 1, and their product at most 2**63: {levels}")
    return TokenCodebook(size, codebook_digest(np.array(levels, dtype=np.int64)))


def _json(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(dumps(dict(value)))
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name} must be JSON: {error}") from error
