"""A layer asks its estimator in train mode, and goes straight through in eval mode."""

import torch

from certvq.nn import Estimator, StraightThrough, Uniform, VectorQuantize, straight_through


class Doubled(Estimator):
    """Twice the gradient."""

    def estimate(self, latents, codebook, codes, generator):
        assert generator is None
        return straight_through(2.0 * latents - latents.detach(), codebook, codes)


def gradient(layer):
    latents = torch.zeros(1, 3, 2, requires_grad=True)
    layer(latents).quantized.sum().backward()
    return latents.grad.unique().tolist()


def test_the_estimator_makes_the_gradient_in_train_mode_only():
    layer = VectorQuantize(2, 4, start=Uniform(), estimator=Doubled())
    assert gradient(layer) == [2.0]
    assert gradient(layer.eval()) == [1.0]


def test_no_estimator_samples_unless_it_says_so():
    assert StraightThrough().choose(torch.zeros(1, 2), torch.zeros(3, 2), None) is None
