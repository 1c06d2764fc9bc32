"""A token data set back to pictures or sounds, one after another.

In: a token data set and its model. Out: PNG or WAV files. Memory holds one of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from certvq._files.atomic import atomic_directory
from certvq._files.claim import claim_folder
from certvq._types import Progress, no_progress
from certvq.data import Skipped
from certvq.data._walk import mark_output
from certvq.errors import NonFiniteError, OptionError
from certvq.tokenize._codecs._codec import Codec
from certvq.tokenize._codecs._open import ModelSource, open_codec
from certvq.tokenize._encoder import steady
from certvq.tokenize._output import write_picture, write_sound
from certvq.tokens import open_tokens


@dataclass(frozen=True)
class DecodedSet:
    """What decoding a token data set left behind.

    Attributes:
        paths: the files written.
        skipped: those whose names the file system does not take, with the reasons.
    """

    paths: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def decode_set(
    model: ModelSource,
    directory: str | Path,
    out: str | Path,
    *,
    keys: Iterable[str] | None = None,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> DecodedSet:
    """Decode the tokens of a set to `KEY.png` or `KEY.wav`.

    Args:
        model: that made the set.
        directory: of the set, or one of its parts.
        out: the folder to make; absent or empty.
        keys: of inputs; None decodes all.
        device: where the model runs.
        progress: called after each input.

    Raises:
        OptionError: `out` holds something, the model has no way back, or it needs side numbers that
            the set lacks.
        DataError: a key is not in the set.
        DigestMismatchError: the set is of another model.
        NonFiniteError: the decoder gave NaN; the input is named.
        OSError: a file cannot be written.

    Guarantee: `out` receives all files but those in `skipped`, or none.
    """
    final, found = Path(out), DecodedSet()
    claim_folder(final)
    stored = open_tokens(directory)
    job = stored.made_by
    if job is None:
        raise OptionError(f"{directory}: is neither a token data set nor a part of one")
    codec = open_codec(
        model, latents=job.modality == "latent", quantizers=len(job.codebooks), device=device
    )
    job.require_same(codec.module, codec.codebooks)
    if codec.decode is None:
        raise OptionError(f"{model}: has no way back from codes ({codec.name})")
    if codec.side != job.side:
        text = (
            f"{directory}: {'has' if job.side else 'lacks'} side numbers, which this version of "
            f"{codec.name} {'needs' if codec.side else 'does not take'}; tokenize the sources again"
        )
        raise OptionError(text)
    wanted = None if keys is None else set(keys)
    total = stored.rows if wanted is None else len(wanted)
    with atomic_directory(final, replace=False) as folder, steady(codec.device.type):
        mark_output(folder)
        for record in stored.records(keys=wanted):
            name = f"{record.key}.{'wav' if codec.modality == 'audio' else 'png'}"
            reason = _write(folder / name, codec, record)
            if reason is None:
                found.paths.append(final / name)
            else:
                found.skipped.append(Skipped(final / name, reason))
            progress("decoding", len(found.paths) + len(found.skipped), total)
    return found


def _write(path: Path, codec: Codec, record: Any) -> str | None:
    assert codec.decode is not None
    grid = tuple(record.shape)
    codes = torch.from_numpy(np.array(record.codes, dtype=np.int64)).to(codec.device)
    shaped = codes.view(1, *grid) if len(codec.codebooks) > 1 else codes.view(1, *grid, 1)
    side = torch.tensor([record.side], dtype=torch.float64, device=codec.device)
    found = codec.decode(*((shaped, side) if codec.side else (shaped,)))[0].float().cpu()
    if not bool(torch.isfinite(found).all()):
        raise NonFiniteError(f"{record.key}: the decoder must give finite numbers, got NaN")
    if codec.modality == "audio":
        return write_sound(path, found[:, : record.size[0]].numpy(), rate=int(record.size[1]))
    black, white = codec.pixels
    height, width = record.size
    image = (found[:, :height, :width] - black) / (white - black)
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return write_picture(path, pixels)
