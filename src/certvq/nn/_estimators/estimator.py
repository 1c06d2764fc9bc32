"""What estimators have in common, and the one that layers use unless an option says otherwise.

In: latents, code vectors and codes. Out: the code vectors with a gradient for the latents. Must not
know how codes are found.
"""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional

from certvq.nn._torch.modes import applied


class Estimator(abc.ABC):
    """How the gradient of the vectors reaches the latents in train mode.

    In eval mode quantizers that take an estimator use `straight_through`.

    Attributes:
        exact: whether the value of `estimate` is the code vectors themselves, bit for bit.
    """

    exact: ClassVar[bool] = True

    def choose(
        self, latents: torch.Tensor, codebook: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor | None:
        """Choose other codes than the nearest ones, for those estimators that sample.

        Args:
            latents: (N, D), finite.
            codebook: (K, D).
            generator: source of the random choices.

        Returns:
            int64 (N,), or None for the nearest codes.
        """
        del latents, codebook, generator
        return None

    @abc.abstractmethod
    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the vectors that go on to the decoder.

        Args:
            latents: (N, D), any float type.
            codebook: (K, D), with its graph.
            codes: (N,) int64 in ``range(K)``.
            generator: source of random numbers, where there are any.

        Returns:
            (N, D) of the codebook's type of number, with a gradient for `latents`; where the class
            says so, also one for `codebook`.
        """


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        del latents
        return functional.embedding(codes, codebook)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        del output
        ctx.latents_dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return cotangents[0].to(ctx.latents_dtype), None, None


class _StraightThroughBothWays(_StraightThrough):
    """With the derivative of forward mode, which compilers refuse."""

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        ctx.latents_dtype, ctx.vectors_dtype = inputs[0].dtype, output.dtype

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        return tangents[0].to(ctx.vectors_dtype, copy=True)


def straight_through(
    latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Look codes up; send the gradient of the result to the latents, unchanged.

    Mathematics: the value is ``codebook[codes]``; the derivative with respect to `latents` is the
    identity, and that with respect to `codebook` is zero. The usual ``z + sg(c - z)`` has the same
    derivatives but is not the code vector in floating point: it is off by a rounding error.

    Args:
        latents: (N, D), any float type.
        codebook: (K, D).
        codes: (N,) int64 in ``range(K)``, not checked here.

    Returns:
        (N, D) of the codebook's type of number.

    Guarantee: equals ``codebook[codes]`` bit for bit, the sign of zero included; the cotangent of
    the latents is that of the result, rounded to the latents' type of number
    (``straightThrough_gradients``).

    Example:
        >>> latents = torch.tensor([[0.1, 0.2]], requires_grad=True)
        >>> codebook = torch.tensor([[0.0, 0.0], [0.3, 0.3]])
        >>> quantized = straight_through(latents, codebook, torch.tensor([1]))
        >>> quantized.sum().backward()
        >>> latents.grad
        tensor([[1., 1.]])

    References:
        Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic
        Neurons", 2013; van den Oord, Vinyals, Kavukcuoglu, 2017, section 3.2.
    """
    result: torch.Tensor = applied(
        _StraightThrough, _StraightThroughBothWays, latents, codebook.detach(), codes
    )
    return result


class _Committed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        sqdist: torch.Tensor,
        weight: float,
    ) -> Any:
        vectors = functional.embedding(codes, codebook)
        wide = torch.promote_types(torch.promote_types(latents.dtype, vectors.dtype), torch.float32)
        mean = sqdist.sum() / max(1, latents.numel())
        value = mean.clamp(max=torch.finfo(wide).max).to(wide)
        ctx.weight = weight
        ctx.save_for_backward(latents, vectors)
        ctx.mark_non_differentiable(value)
        ctx.set_materialize_grads(False)  # often the loss alone has a cotangent
        return vectors, weight * value, value

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> Any:
        latents, vectors = ctx.saved_tensors
        passed, of_loss, _ = cotangents
        if of_loss is None:
            slope = passed
        else:
            wide = torch.promote_types(of_loss.dtype, vectors.dtype)
            slope = latents.to(wide) - vectors.detach().to(wide)  # the loss does not move vectors
            scale = of_loss * ctx.weight * (2.0 / max(1, latents.numel()))
            apart = torch.is_grad_enabled()
            slope = slope * scale if apart else slope.mul_(scale)
            if passed is not None:
                slope = slope + passed if apart else slope.add_(passed)
        return None if slope is None else slope.to(latents.dtype), None, None, None, None


def committed(
    latents: torch.Tensor,
    codebook: torch.Tensor,
    codes: torch.Tensor,
    sqdist: torch.Tensor,
    weight: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return `straight_through` and the weighted `known_mean_square` at once.

    One node of the graph and one pass backward take the place of three: for a few hundred tokens
    nodes cost more than arithmetic. For use where `backward_alone` is True.

    Args:
        latents: (N, D), any float type.
        codebook: (K, D); gets no gradient.
        codes: (N,) int64 in ``range(K)``, not checked here.
        sqdist: squared distances of the latents and their code vectors, float64 (N,).
        weight: of the loss.

    Returns:
        The code vectors (N, D); the weighted loss, a scalar in float32 or wider; and the loss
        without its weight and without a gradient.

    Example:
        >>> latents = torch.tensor([[0.0, 1.0]], requires_grad=True)
        >>> book, codes = torch.tensor([[1.0, 1.0]]), torch.tensor([0])
        >>> vectors, loss, value = committed(latents, book, codes, torch.tensor([1.0]), 0.5)
        >>> (vectors.sum() + loss).backward()
        >>> loss.item(), value.item(), latents.grad
        (0.25, 0.5, tensor([[0.5000, 1.0000]]))
    """
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _Committed.apply(
        latents, codebook.detach(), codes, sqdist, weight
    )
    return found


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """Send the gradient to the latents unchanged, as `straight_through` does."""

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors; see `Estimator.estimate`."""
        del generator
        return straight_through(latents, codebook, codes)


@torch.library.custom_op("certvq::straight_through", mutates_args=())
def straight_through_operator(
    latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Look codes up; the derivative with respect to `latents` is the identity.

    Args:
        latents: (N, D), any float type.
        codebook: (K, D).
        codes: (N,) int64 in ``range(K)``.

    Returns:
        (N, D) of the codebook's type of number.
    """
    del latents
    return functional.embedding(codes, codebook)


@straight_through_operator.register_fake
def _(latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return codebook.new_empty((*codes.shape, latents.shape[-1]))


def _keep_dtype(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    del output
    ctx.latents_dtype = inputs[0].dtype


def _send_back(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    return cotangent.to(ctx.latents_dtype), None, None


straight_through_operator.register_autograd(_send_back, setup_context=_keep_dtype)


@straight_through_operator.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, ...], *inputs: torch.Tensor
) -> tuple[torch.Tensor, int]:
    latents, codebook, codes = (
        part.expand(info.batch_size, *part.shape) if dim is None else part.movedim(dim, 0)
        for part, dim in zip(inputs, in_dims, strict=True)
    )
    if in_dims[1] is None:
        return straight_through_operator(latents, inputs[1], codes), 0
    places = torch.arange(info.batch_size, device=codes.device)
    shifted = codes + places.reshape(-1, *(1 for _ in codes.shape[1:])) * codebook.shape[1]
    return straight_through_operator(latents, codebook.flatten(0, 1), shifted), 0
