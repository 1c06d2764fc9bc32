"""Measure a model on whole photographs.

In: a model and the validation photographs. Out: `Figures` over all of them together. Must not
change the model, nor draw random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from certvq._types import Int64, Int64Array, UInt8, UInt8Array
from certvq.data import Photograph
from certvq.models import VQVAE, VQVAEOutput
from certvq.models._quantizer import WAYS, decided_shares
from certvq.train._images import to_images, to_pixels
from certvq.train._metrics import Figures, perplexity, pixel_variance, usage
from certvq.train._psnr import mean_psnr


@dataclass
class _Tally:
    counts: Int64[Int64Array, "codebooks K"]
    decided: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WAYS, 0.0))
    pixels: int = 0
    squared_error: float = 0.0
    codebook: float = 0.0
    commitment: float = 0.0
    regularised: float = 0.0
    pictures: list[tuple[UInt8[UInt8Array, "..."], UInt8[UInt8Array, "..."]]] = field(
        default_factory=list
    )

    def add(self, model: VQVAE, photograph: Photograph, output: VQVAEOutput) -> None:
        codes = output.codes.cpu().numpy()
        columns = codes.reshape(-1, len(self.counts)).T
        self.counts += [np.bincount(each, minlength=self.counts.shape[1]) for each in columns]
        self.pixels += photograph.pixels.size
        self.squared_error += output.reconstruction_loss.item() * photograph.pixels.size
        self.codebook += output.codebook_loss.item() * codes.size
        self.commitment += output.commitment_loss.item() * codes.size
        self.regularised += (output.loss - output.reconstruction_loss).item() * codes.size
        for way, share in decided_shares(model.quantizer, codes.size).items():
            self.decided[way] += share * codes.size
        self.pictures.append((photograph.pixels, to_pixels(output.reconstruction)[0]))


def validate(
    model: VQVAE, photographs: Sequence[Photograph], *, step: int, seconds: float
) -> Figures:
    """Measure a model on photographs, each as a whole, in float32.

    Args:
        model: in any mode; put back into it afterwards.
        photographs: at least one, of the model's channels.
        step: to be noted in the figures.
        seconds: likewise.

    Returns:
        The figures over all photographs: perplexity and usage from one summed histogram (of several
        codebooks the means of theirs), the reconstruction error and PSNR over all pixels.
    """
    codebooks = len(model.codebooks)
    tally = _Tally(np.zeros((codebooks, model.config.codebook_size), dtype=np.int64))
    training = model.training
    model.eval()
    with torch.inference_mode():
        for photograph in photographs:
            tally.add(model, photograph, model(to_images(photograph.pixels[None], model)))
    model.train(training)
    rows = int(tally.counts.sum())
    mse = tally.squared_error / tally.pixels
    scaled = mse / pixel_variance(photographs)
    return Figures(
        split="validation",
        step=step,
        seconds=seconds,
        reconstruction_mse=mse,
        mse_over_variance=scaled,
        codebook_loss=tally.codebook / rows,
        commitment_loss=tally.commitment / rows,
        loss=scaled + tally.regularised / rows,
        perplexity=float(np.mean([perplexity(counts) for counts in tally.counts])),
        usage=float(np.mean([usage(counts) for counts in tally.counts])),
        filter_share=tally.decided["filter"] / rows,
        refined_share=tally.decided["refined"] / rows,
        exact_share=tally.decided["exact"] / rows,
        psnr=mean_psnr(tally.pictures),
    )
