"""The documents of `certvq certify --torchlean`, written into a folder and read back.

In: latents, a codebook, certified codes and options. Out: a folder of documents, and those that
the checker refuses. Must not run Lean, nor import torch.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from certvq._files.atomic import atomic_directory
from certvq._files.claim import claim_folder
from certvq._types import Array, Progress
from certvq.assign._arrays import to_host
from certvq.errors import OptionError, ShapeError
from certvq.jobs._arrays import load_array


@dataclass(frozen=True)
class TorchLean:
    """What the documents for TorchLean shall say.

    Attributes:
        out: the folder that receives them.
        radius: of the box around each input.
        encoder: a safetensors file of the linear layers between inputs and latents.
        inputs: an `.npy` file (N, I) of what enters the encoder; both or neither.
    """

    out: Path
    radius: float = 0.0
    encoder: Path | None = None
    inputs: Path | None = None

    def claim(self) -> None:
        """Require options that fit together, and a folder that can be written.

        Raises:
            OptionError: an encoder without inputs, or inputs without an encoder; a radius that is
                negative or not finite; the folder holds something.
            OSError: the folder cannot be written.
        """
        if (self.encoder is None) != (self.inputs is None):
            raise OptionError(
                "--encoder FILE needs --inputs FILE, what enters the encoder, and the reverse"
            )
        if not 0 <= self.radius < float("inf"):
            raise OptionError(f"--radius must be finite and at least 0, got {self.radius}")
        claim_folder(self.out)


@dataclass(frozen=True)
class Documents:
    """What was written for TorchLean.

    Attributes:
        folder: where.
        count: of the documents.
        refused: a line for each input whose code is not proved; it has no document.
    """

    folder: Path
    count: int
    refused: tuple[str, ...]


def write_documents(
    options: TorchLean, latents: Array, codebook: Array, codes: np.ndarray, progress: Progress
) -> Documents:
    """Write the documents of certified codes, and check each as it lies on the disk.

    Raises:
        FileFormatError: the encoder or the inputs cannot be read.
        ShapeError: inputs, encoder and codebook do not fit together.
        NonFiniteError: the inputs or the encoder are not finite.
        OSError: the folder cannot be written.
    """
    from certvq.torchlean import Claimed, check_claim, claims, load_layers

    layers = load_layers(options.encoder) if options.encoder else []
    inputs = latents if options.inputs is None else load_array(options.inputs)
    if len(inputs) != len(codes):
        text = f"--inputs must have a row for each of {len(codes)} codes, got {len(inputs)}"
        raise ShapeError(text)
    base = Claimed(
        center=(),
        radius=options.radius,
        codebook=_numbers(codebook),
        code=0,
        layers=[(each.weights.tolist(), each.bias.tolist(), each.relu) for each in layers],
    )
    count, refused = 0, list[str]()
    with atomic_directory(options.out, replace=False) as folder:
        for claim in claims(inputs, codebook, codes, radius=options.radius, layers=layers):
            paths = [folder / name for name in claim.documents]
            for path, text in zip(paths, claim.documents.values(), strict=True):
                path.write_text(text, encoding="utf-8")
            claimed = replace(base, center=_numbers(inputs[claim.row]), code=claim.code)
            verdict = check_claim([path.read_text("utf-8") for path in paths], claimed)
            if not verdict.accepted:
                refused.append(f"row {claim.row}, code {claim.code}: {verdict.reason}")
                for path in paths:
                    path.unlink()
            count += len(paths) if verdict.accepted else 0
            progress("documents", claim.row + 1, len(codes))
    return Documents(options.out, count, tuple(refused))


def _numbers(array: Array) -> list[Any]:
    return to_host(array).astype(np.float64).tolist()
