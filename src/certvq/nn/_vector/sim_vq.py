"""Vector quantization whose codebook is a learned map of frozen vectors.

In: latents of any layout. Out: mapped code vectors, their indices and the loss that trains encoder
and map. Codes come from `certvq.assign` alone. Must not learn anything of its own: all that it
learns are the parameters of the map.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn._core.latents import LayoutName, check_batch
from certvq.nn._core.losses import mean_square
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._core.search import decisions, search
from certvq.nn._estimators.estimator import Estimator, StraightThrough, straight_through
from certvq.nn._torch import random as _random
from certvq.nn._torch.device import default_device
from certvq.nn._torch.distributed import require_whole
from certvq.nn._torch.modes import full_precision

_STRAIGHT = StraightThrough()

_UNSTEADY = (
    nn.modules.dropout._DropoutNd,  # noqa: SLF001 (the one class that all dropouts share)
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 (likewise of all norms with statistics)
)


@checked
class SimVQ(Quantizer):
    """Replace each latent by the provably nearest of the mapped code vectors.

    Mathematics: ``C = f(F)`` with the frozen vectors ``F`` and the learned map ``f``, linear by
    default, so that every step moves all code vectors and none dies;
    ``i = min { i : for all j, |z - C_i| <= |z - C_j| }``,
    ``loss = mse(sg[z], C_i) + commitment_weight * mse(z, sg[C_i])``. The first term trains the map.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K, >= 1.
        code_dim: F, size of the frozen vectors, >= 1; None for D.
        transform: the map, a module from (K, F) to (K, D) that treats every row alike; None for a
            linear one without bias. It may not draw random numbers nor keep statistics of what it
            sees, since the codebook of a forward pass must still be there when it returns.
        commitment_weight: beta, finite and >= 0.
        estimator: how the gradient reaches the latents in train mode.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of every random choice; None is torch's default generator. Its state is
            part of the state dict.

    Attributes:
        frozen: (K, F), normal numbers of variance 1/F; a buffer, never changed.
        transform: the map.

    Raises:
        OptionError: an option out of its range, or a map with dropout or batch statistics.

    Guarantee: that of `certvq.assign` for every code, against the mapped code vectors as computed
    (rounded), in the map's type of number and with autocast off. ``quantized == decode(codes)`` bit
    for bit, in train and eval mode, with one number of threads and until the map changes.
    Ties: the lowest index.
    Cost: one map of K vectors and one search a forward pass; in train mode two maps.

    Example:
        >>> layer = SimVQ(2, 3).eval()
        >>> _ = layer.frozen.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.5]]))
        >>> with torch.no_grad():
        ...     _ = layer.transform.weight.copy_(2.0 * torch.eye(2))
        >>> quantized, codes, loss = layer(torch.tensor([[[1.5, 1.0], [0.9, 0.8]]]))
        >>> codes, quantized[0, 0]
        (tensor([[1, 0]]), tensor([2., 2.]))

    References:
        Zhu et al., "Addressing Representation Collapse in Vector Quantized Models with One Linear
        Layer", 2024, arXiv 2411.02038.
    """

    frozen: torch.Tensor

    def __init__(  # noqa: PLR0913 (independent options, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int,
        *,
        code_dim: int | None = None,
        transform: nn.Module | None = None,
        commitment_weight: float = 0.25,
        estimator: Estimator = _STRAIGHT,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, layout=layout)
        width = dim if code_dim is None else code_dim
        _require_options(codebook_size, width, commitment_weight, transform)
        self.commitment_weight = commitment_weight
        self.estimator = estimator
        self.draw_from(generator)
        frozen = _random.normal((codebook_size, width), generator, torch.device("cpu"))
        kind, device = torch.get_default_dtype(), default_device()
        self.register_buffer("frozen", (frozen / math.sqrt(width)).to(device, kind))
        self.transform = _linear(width, dim, generator) if transform is None else transform

    @property
    def codebook_size(self) -> int:
        """K."""
        return len(self.frozen)

    @property
    def codebook(self) -> torch.Tensor:
        """The mapped code vectors (K, D), computed now, with the gradient of the map.

        Raises:
            ShapeError: the map gives another shape.
            DistributedError: the map is in shards, as FSDP2 leaves it between forward passes.
        """
        kinds = {parameter.dtype for parameter in self.transform.parameters()}
        kind = kinds.pop() if len(kinds) == 1 else self.frozen.dtype
        frozen = self.frozen.to(kind)  # FSDP2 narrows parameters alone
        try:
            with full_precision(frozen.device):
                mapped: torch.Tensor = self.transform(frozen)
        except RuntimeError:  # a map that is sharded by itself gathers its parameters
            for parameter in self.transform.parameters():
                require_whole(parameter, f"SimVQ(dim={self.dim})")
            raise
        if mapped.shape != (self.codebook_size, self.dim):
            text = (
                f"transform must map the frozen vectors {tuple(self.frozen.shape)} to "
                f"{(self.codebook_size, self.dim)}, got {tuple(mapped.shape)}; end it with a layer "
                f"of {self.dim} features"
            )
            raise ShapeError(text)
        return mapped

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize with the map as it is; see `Quantizer`."""
        codebook = self.codebook
        fixed = codebook.detach()
        assignment = search(tokens, fixed)
        codes = assignment.codes
        if self.training:
            chosen = self.estimator.choose(tokens.detach(), fixed, self.generator)
            codes = codes if chosen is None else chosen
            vectors = self.estimator.estimate(tokens, fixed, codes, self.generator)
        else:
            vectors = straight_through(tokens, fixed, codes)
        mapped = functional.embedding(codes, codebook)
        learning = mean_square(tokens.detach(), mapped)
        commitment = mean_square(tokens, mapped.detach())
        value = commitment.detach()
        figures = {"codebook_loss": value, "commitment_loss": value, **decisions(assignment)}
        return Found(vectors, codes, learning + self.commitment_weight * commitment, figures)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes; see `Quantizer`."""
        codes: torch.Tensor = search(tokens, self.codebook).codes
        return codes

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Look mapped code vectors up; see `Quantizer`.

        The whole codebook is mapped and not the rows alone: products of other shapes may round in
        another way.
        """
        return functional.embedding(codes, self.codebook)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Refuse what the search or the loss would fail on; see `Quantizer`."""
        with torch.no_grad():
            wide = torch.promote_types(tokens.dtype, torch.float32)
            return check_batch(tokens, self.codebook, wide)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"dim={self.dim}, codebook_size={self.codebook_size}, "
            f"code_dim={self.frozen.shape[1]}, commitment_weight={self.commitment_weight}, "
            f"estimator={self.estimator}, layout={self._layout.name!r}"
        )


def _linear(inner: int, outer: int, generator: torch.Generator | None) -> nn.Linear:
    """Make a linear map whose weights are those of torch's default, from a generator."""
    linear = nn.Linear(inner, outer, bias=False, device="meta")
    unit = _random.uniform(inner * outer, generator, torch.device("cpu")).reshape(outer, inner)
    start = (2.0 * unit - 1.0) / math.sqrt(inner)
    linear.weight = nn.Parameter(start.to(default_device(), linear.weight.dtype))
    return linear


def _require_options(
    codebook_size: int, code_dim: int, commitment_weight: float, transform: nn.Module | None
) -> None:
    for name, value in (("codebook_size", codebook_size), ("code_dim", code_dim)):
        if value < 1:
            text = f"{name} must be at least 1, got {value}"
            raise OptionError(text)
    if not 0.0 <= commitment_weight < math.inf:
        text = f"commitment_weight must be finite and at least 0, got {commitment_weight}"
        raise OptionError(text)
    for name, part in () if transform is None else transform.named_modules():
        if isinstance(part, _UNSTEADY):
            text = (
                "transform must give the same code vectors whenever it is asked, got "
                f"{type(part).__name__} at {name or 'its root'!r}; use layers without dropout and "
                "without batch statistics, such as LayerNorm"
            )
            raise OptionError(text)
