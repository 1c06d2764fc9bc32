"""What the levels of the original's `ResidualVQ` are made of.

In: its keywords. Out: what they mean, the quantizers of the levels, or a named error. Must not
quantize.
"""

from typing import Any, cast

from certvq.compat.vector_quantize_pytorch._checks import require
from certvq.compat.vector_quantize_pytorch._level import Unrouted
from certvq.compat.vector_quantize_pytorch._level_keywords import LevelKeywords
from certvq.errors import OptionError
from certvq.nn import Neural, NeuralCodebook, Quantizer, VectorQuantize

_MLP = {"dim_hidden", "depth"}


def build_levels(
    keywords: LevelKeywords,
    dim: int,
    sizes: tuple[int, ...],
    *,
    shared: bool,
    diveq: bool,
    networks: Neural | None,
) -> list[Quantizer]:
    """Make the quantizers of the levels, or the one that all share.

    Args:
        keywords: of every level.
        dim: size of the code vectors.
        sizes: number of codes of each level.
        shared: whether all levels use one codebook.
        diveq: whether the sum alone gives the latents a gradient.
        networks: what adapts the codebooks of all levels but the first, or None.

    Raises:
        OptionError: a shared codebook of several sizes, or with networks.
    """
    if shared and (len(set(sizes)) > 1 or networks is not None):
        text = (
            "shared_codebook needs one codebook_size for all levels and no "
            f"implicit_neural_codebook, got sizes {sizes}"
        )
        raise OptionError(text)
    parts: list[Quantizer] = []
    for level, size in enumerate(sizes[:1] if shared else sizes):
        own = keywords.build(dim, size)
        if diveq:
            own.estimator = Unrouted()
        if networks is None or not level:
            parts.append(own)
            continue
        parts.append(
            NeuralCodebook(
                dim,
                size,
                neural=networks,
                update=own.update,
                commitment_weight=own.commitment_weight,
                start=own.start,
                revive=own.revive,
                estimator=own.estimator,
                process_group=own.process_group,
            )
        )
    return parts


def codebook_of(level: Quantizer) -> VectorQuantize:
    """Return the layer that holds the codebook of a level."""
    return level.base if isinstance(level, NeuralCodebook) else cast("VectorQuantize", level)


def read_sizes(codebook_size: int | tuple[int, ...], levels: int | None) -> tuple[int, ...]:
    """Return the number of codes of each level.

    Raises:
        OptionError: another number of sizes than of levels.
    """
    if isinstance(codebook_size, int):
        if levels is None:
            text = f"num_quantizers must be at least 1 for one codebook_size, got {levels}"
            raise OptionError(text)
        return (codebook_size,) * levels
    if not codebook_size or levels not in (None, len(codebook_size)):
        text = (
            f"codebook_size must be one for each of num_quantizers={levels} levels, got "
            f"{codebook_size}"
        )
        raise OptionError(text)
    return tuple(codebook_size)


def read_networks(mlp_kwargs: dict[str, Any] | None) -> Neural:
    """Return the shape of the networks that adapt codebooks.

    Raises:
        OptionError: an unknown keyword, or a value without sense.
    """
    given = dict(mlp_kwargs or {})
    unknown = given.keys() - _MLP
    if unknown:
        text = f"mlp_kwargs may hold {sorted(_MLP)}, got {sorted(unknown)}"
        raise OptionError(text)
    require(**given)
    return Neural(depth=given.get("depth", 4), hidden=given.get("dim_hidden"), skip=False)


def read_keywords(given: dict[str, Any], *, diveq: bool, neural: bool) -> LevelKeywords:
    """Read the keywords of the levels, and set those that others imply.

    Raises:
        OptionError: keywords that contradict one another.
    """
    keywords = dict(given)
    if neural:
        if keywords.get("use_cosine_sim"):
            text = "implicit_neural_codebook with use_cosine_sim is not supported"
            raise OptionError(text)
        keywords.update(learnable_codebook=True, ema_update=False)
    if diveq:
        keywords.update(ema_update=False, learnable_codebook=True, commitment_weight=0.0)
        keywords.update(route_gradients_to_input=False)
    read = LevelKeywords.read(keywords)
    if neural and (read.frozen or read.stochastic_sample_codes or read.affine_param):
        text = (
            "implicit_neural_codebook goes with neither freeze_codebook, stochastic_sample_codes "
            "nor affine_param; see docs/migration.md"
        )
        raise OptionError(text)
    return read
