"""State dicts of the original, read as those of certvq's layers.

In: tensors by the original's names. Out: the same by ours. Must not know of modules.
"""

from collections.abc import Mapping

import torch

from certvq.errors import FileFormatError

BUFFERS = ("embed", "embed_avg", "cluster_size", "initted")
"""What every codebook of the original has."""

MOMENTS = ("batch_mean", "batch_variance", "codebook_mean", "codebook_variance")
"""What it has beside with `affine_param`."""


def has_layer(state: Mapping[str, torch.Tensor], prefix: str) -> bool:
    """Say whether the original's `VectorQuantize` at a prefix left its state there."""
    return f"{prefix}_codebook.embed" in state


def layer_state(
    state: Mapping[str, torch.Tensor], prefix: str, *, head: int = 0
) -> dict[str, torch.Tensor]:
    """Translate the state of one codebook of the original.

    Args:
        state: has ``{prefix}_codebook.embed`` and its kin, each with a first axis for the head.
        prefix: where the original's `VectorQuantize` stood, ``""`` or something with a dot at its
            end.
        head: which of its codebooks.

    Returns:
        What a `certvq.nn.VectorQuantize` with `EMA` calls these tensors: the averages as they are,
        not to be divided by ``1 - decay^t``, and nothing that waits. Affine moments only where the
        original had seen a batch.

    Raises:
        FileFormatError: one of these tensors is missing, or has no axis for the head; the text
            names it.

    Example:
        >>> old = {"_codebook.embed": torch.zeros(1, 3, 2), "_codebook.initted": torch.tensor(True)}
        >>> old |= {"_codebook.cluster_size": torch.ones(1, 3)}
        >>> old |= {"_codebook.embed_avg": torch.zeros(1, 3, 2)}
        >>> layer_state(old, "")["statistics.counts"]
        tensor([1., 1., 1.])
    """
    old = {
        name: state[f"{prefix}_codebook.{name}"]
        for name in BUFFERS
        if f"{prefix}_codebook.{name}" in state
    }
    missing = [name for name in BUFFERS if name not in old]
    if missing:
        text = (
            f"the state of an original layer has the tensors {', '.join(BUFFERS)}, but "
            f"'{prefix}_codebook.{missing[0]}' is missing; save the whole state dict again"
        )
        raise FileFormatError(text)
    for name, axes in (("embed", 3), ("embed_avg", 3), ("cluster_size", 2)):
        if old[name].ndim != axes:
            text = (
                f"'{prefix}_codebook.{name}' must have {axes} axes, the first for codebooks, got "
                f"shape {tuple(old[name].shape)}; if an older version has saved it, give it that "
                "axis: value[None]"
            )
            raise FileFormatError(text)
    counts, sums = old["cluster_size"][head].float(), old["embed_avg"][head].float()
    new = {
        "codebook": old["embed"][head],
        "started": old["initted"].reshape(()),
        "statistics.weight": counts.new_ones(()),
        "statistics.counts": counts,
        "statistics.sums": sums,
        "statistics.pending_counts": torch.zeros_like(counts),
        "statistics.pending_sums": torch.zeros_like(sums),
    }
    found = {name: state.get(f"{prefix}_codebook.{name}") for name in MOMENTS}
    if all(value is not None for value in found.values()):
        new["affine.begun"] = torch.tensor(True)
        new |= {f"affine.{k}": v[head].reshape(-1) for k, v in found.items() if v is not None}
    return new
