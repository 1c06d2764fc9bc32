"""A regularizer of one's own."""

import dataclasses

import torch

from certvq.nn import Regularizer, VectorQuantize


@dataclasses.dataclass(frozen=True)
class Length(Regularizer):
    """The mean squared length of the latents."""

    name = "length"
    needs_gradient = False
    weight: float = 2.0

    def penalty(self, batch):
        return batch.latents.square().mean()


def test_a_user_can_write_one(seeded):
    layer = VectorQuantize(2, 3, commitment_weight=0.0, regularizers=(Length(),))
    x = torch.randn(1, 9, 2, generator=seeded())
    assert layer(x).loss == 2.0 * x.square().mean()
    assert layer.metrics()["length_loss"] == float(x.square().mean())
