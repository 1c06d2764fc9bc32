"""One optimiser step.

In: crops and a learning rate. Out: updated weights and codebook, and the batch's `Figures`. The
images are quantized inside the model: under autocast the encoder hands over bfloat16 latents as
they are, and the codes are the nearest ones to those very numbers. Must not touch files.
"""

import math

import torch
from lightning_fabric import Fabric

from certvq._types import UInt8, UInt8Array
from certvq.errors import NonFiniteError
from certvq.models import VQVAE, VQVAEOutput
from certvq.models._quantizer import decided_shares
from certvq.train._checkpoint import TrainState
from certvq.train._config import TrainConfig
from certvq.train._images import lay_out, to_images
from certvq.train._metrics import Figures


class Stepper:
    """Make optimiser steps under Lightning Fabric.

    Args:
        config: precision and gradient clipping.
        state: the model and optimiser that are moved along; placed on Fabric's device.
        variance: of the training pixels; the reconstruction term is divided by it, as published.
    """

    def __init__(self, config: TrainConfig, state: TrainState, *, variance: float) -> None:
        self._clip = config.gradient_clip
        self._variance = variance
        self._fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
        lay_out(state.model, torch.channels_last)
        self._state = state
        self._model, self._optimizer = self._fabric.setup(state.model, state.optimizer)

    def step(
        self,
        pixels: UInt8[UInt8Array, "B size size C"],
        *,
        learning_rate: float,
        number: int,
        seconds: float,
    ) -> Figures:
        """Make one step.

        Args:
            pixels: uint8 (B, size, size, C).
            learning_rate: of this step.
            number: which step this is, counted from 1.
            seconds: wall-clock time of the run until now.

        Returns:
            The figures of the batch, before the step changed the weights.

        Raises:
            NonFiniteError: latents, loss or gradient are NaN or infinite; no weight is changed.
        """
        for group in self._state.optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.zero_grad()
        output = self._model(to_images(pixels, self._state.model))
        reconstruction = output.reconstruction_loss
        loss = output.loss - reconstruction + reconstruction / self._variance
        _require_finite("the loss", loss)
        self._fabric.backward(loss)
        norm = self._fabric.clip_gradients(
            self._model, self._optimizer, max_norm=self._clip, error_if_nonfinite=False
        )
        _require_finite("the norm of the gradient", norm)
        self._optimizer.step()
        return _figures(self._state.model, output, loss.item(), self._variance, number, seconds)


def _require_finite(name: str, value: torch.Tensor | None) -> None:
    assert value is not None
    number = value.item()
    if not math.isfinite(number):
        raise NonFiniteError(f"{name} must be finite, got {number}")


def _figures(
    model: VQVAE, output: VQVAEOutput, loss: float, variance: float, step: int, seconds: float
) -> Figures:
    found = model.quantizer.metrics()
    shares = decided_shares(model.quantizer, output.codes.numel())
    mse = output.reconstruction_loss.item()
    return Figures(
        split="train",
        step=step,
        seconds=seconds,
        reconstruction_mse=mse,
        mse_over_variance=mse / variance,
        codebook_loss=output.codebook_loss.item(),
        commitment_loss=output.commitment_loss.item(),
        loss=loss,
        perplexity=found["perplexity"],
        usage=found["codebook_usage"],
        filter_share=shares["filter"],
        refined_share=shares["refined"],
        exact_share=shares["exact"],
    )
