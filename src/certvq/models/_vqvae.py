"""The VQ-VAE: encoder, certified quantizer, decoder.

In: images of [0, 1]. Out: reconstructions, codes and losses; codes back to images. Must not train,
nor read image files.
"""

from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from certvq._types import Float, Int64, Integer
from certvq.errors import FileFormatError, OptionError, ShapeError
from certvq.models._config import VQVAEConfig
from certvq.models._decoder import Decoder
from certvq.models._encoder import Encoder
from certvq.models._files import WEIGHTS, find_model, read_model, write_model
from certvq.models._images import pad_to_stride, require_images, require_size
from certvq.models._quantizer import (
    codebook_names,
    latest_loss,
    make_quantizer,
    stored_codebooks,
)
from certvq.nn._core.latents import require_same_device
from certvq.nn._core.losses import mean_square
from certvq.nn._torch.generators import without_generators


class VQVAEOutput(NamedTuple):
    """What the forward pass returns.

    Attributes:
        reconstruction: (B, channels, H, W); in eval mode clamped to [0, 1].
        codes: (B, h, w) int64; of a residual quantizer (B, h, w, number of codebooks).
        loss: ``reconstruction_loss + commitment_weight * commitment_loss``, and plus
            ``codebook_loss`` where the codebook learns by gradient.
        reconstruction_loss: mean squared error of `reconstruction`, in squared units of [0, 1].
        codebook_loss: mean of ``(sg[z] - c)^2``; of several codebooks the sum of theirs, of a grid
            zero.
        commitment_loss: mean of ``(z - sg[c])^2``; likewise.
    """

    reconstruction: Float[torch.Tensor, "B C H W"]
    codes: Int64[torch.Tensor, "B h w ..."]
    loss: Float[torch.Tensor, ""]
    reconstruction_loss: Float[torch.Tensor, ""]
    codebook_loss: Float[torch.Tensor, ""]
    commitment_loss: Float[torch.Tensor, ""]


class VQVAE(nn.Module):
    """Vector-quantized variational autoencoder for images of any size.

    Images whose sides are no multiples of the stride are padded by repeating their last row and
    column; reconstructions are cropped to the images' size. Pixels are centred at 0.5 inside.

    Args:
        config: the architecture.
        generator: source of the initial weights and of every random choice of the quantizer; None
            is torch's default generator. Given one, the default generator stays untouched.

    Attributes:
        config: as given.
        encoder, decoder: convolutional networks.
        quantizer: a layer of `certvq.nn` of layout ``"b c h w"``, as `VQVAEConfig.quantizer` says.

    Guarantee: every code is the nearest one to the latent that the encoder computed
    (`certvq.assign`). ``decode(codes, size=...)`` of the codes of a forward pass in eval mode
    equals its reconstruction bit for bit, on the same machine with the same number of threads and
    the same autocast setting. Nothing is claimed about latents of an image in another batch.

    Example:
        >>> model = VQVAE(VQVAEConfig.small(), generator=torch.Generator().manual_seed(0)).eval()
        >>> images = torch.rand(1, 3, 18, 13)
        >>> output = model(images)
        >>> output.codes.shape
        torch.Size([1, 5, 4])
        >>> torch.equal(model.decode(output.codes, size=(18, 13)), output.reconstruction)
        True

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017.
    """

    def __init__(self, config: VQVAEConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[], enabled=generator is not None):
            if generator is not None:
                seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
                torch.default_generator.manual_seed(int(seed))
            self.encoder = Encoder(config)
            self.decoder = Decoder(config)
        self.quantizer = make_quantizer(config, generator)

    @property
    def codebooks(self) -> list[torch.Tensor]:
        """One for each code of a token: code vectors (K, D), or the levels (D,) of a grid."""
        names = codebook_names(self.config)
        return stored_codebooks(self.config, {n: attrgetter(n)(self).detach() for n in names})

    def only_codebook(self, what: str) -> torch.Tensor:
        """Return the code vectors (K, D) of a model with one codebook.

        Args:
            what: needs them, for the text of the error.

        Raises:
            OptionError: the quantizer is another.
        """
        if self.config.quantizer != "vq":
            raise OptionError(
                f"{what} takes models with the quantizer 'vq', got {self.config.quantizer!r}"
            )
        return self.codebooks[0]

    def forward(self, images: Float[torch.Tensor, "B C H W"]) -> VQVAEOutput:
        """Encode, quantize and decode; in train mode the codebook learns.

        Args:
            images: (B, channels, H, W) floats of [0, 1], H and W at least the stride.

        Returns:
            `VQVAEOutput`.

        Raises:
            ShapeError: wrong rank or channels, or an image smaller than the stride.
            DTypeError: images that are not floats.
            DeviceError: images on another device than the model.
            NonFiniteError: NaN or infinity reached the quantizer.
        """
        quantized, codes, penalty = self.quantizer(self._features(images))
        reconstruction = self._image(quantized, (images.shape[2], images.shape[3]))
        if not self.training:
            reconstruction = reconstruction.clamp(0.0, 1.0)
        error = mean_square(reconstruction, images)
        return VQVAEOutput(
            reconstruction,
            codes,
            error + penalty,
            error,
            latest_loss(self.quantizer, "codebook_loss"),
            latest_loss(self.quantizer, "commitment_loss"),
        )

    def latents(
        self, images: Float[torch.Tensor, "B C H W"]
    ) -> Float[torch.Tensor, "B h w {self.config.dim}"]:
        """Return what the quantizer gets to see.

        Args:
            images: as `forward` takes them.

        Returns:
            (B, h, w, D).

        Raises:
            ShapeError: wrong rank or channels, or an image smaller than the stride.
            DTypeError: images that are not floats.
            DeviceError: images on another device than the model.
        """
        return self._features(images).movedim(1, -1)

    @torch.no_grad()
    def encode(self, images: Float[torch.Tensor, "B C H W"]) -> Int64[torch.Tensor, "B h w ..."]:
        """Return the codes of images.

        Args:
            images: as `forward` takes them.

        Returns:
            (B, h, w) int64; of a residual quantizer (B, h, w, number of codebooks).

        Raises:
            ShapeError: wrong rank or channels, or an image smaller than the stride.
            DTypeError: images that are not floats.
            DeviceError: images on another device than the model.
            NonFiniteError: NaN or infinity reached the quantizer.
        """
        return self.quantizer.encode(self._features(images))

    @torch.no_grad()
    def decode(
        self, codes: Integer[torch.Tensor, "B h w ..."], *, size: tuple[int, int] | None = None
    ) -> Float[torch.Tensor, "B {self.config.channels} H W"]:
        """Return the images of codes.

        Args:
            codes: (B, h, w) integers; of a residual quantizer (B, h, w, Q), Q of the first
                codebooks.
            size: height and width to crop to; None means all, ``stride`` pixels for each code.

        Returns:
            (B, channels, H, W) of [0, 1].

        Raises:
            ShapeError: codes without three axes, or a size whose token grid is another one.
            DTypeError: codes that are not integers.
            DeviceError: codes on another device than the model.
            CodeRangeError: a code outside ``range(codebook_size)``.
        """
        vectors = self.quantizer.decode(codes)
        vectors = vectors.to(next(self.decoder.parameters()).dtype)  # a grid's are float32
        rows, columns = codes.shape[1:3]
        stride = self.config.downsampling
        height, width = size or (rows * stride, columns * stride)
        if self.token_grid(height, width) != (rows, columns):
            text = (
                f"images of {height} x {width} pixels have {self.token_grid(height, width)} codes, "
                f"got {(rows, columns)}; give the size of the image that was encoded"
            )
            raise ShapeError(text)
        return self._image(vectors, (height, width)).clamp(0.0, 1.0)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the numbers of rows and columns of codes of an image.

        Args:
            height: in pixels, at least the stride.
            width: likewise.

        Returns:
            ``ceil(height / stride), ceil(width / stride)``.

        Raises:
            ShapeError: smaller than the stride.
        """
        stride = self.config.downsampling
        require_size(height, width, stride)
        return -(-height // stride), -(-width // stride)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``model.safetensors`` and ``config.json``, whole or not at all.

        Args:
            directory: a folder, created, or replaced if it holds a model and nothing else.

        Raises:
            OptionError: the folder holds other files, or is a file.
            OSError: it cannot be written.
        """
        write_model(Path(directory), self.config, without_generators(self.state_dict()))

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "VQVAE":
        """Read a model that `save_pretrained` wrote.

        Args:
            directory: a folder; where none of that name exists, ``"organisation/name"`` of a model
                on the Hugging Face hub.

        Returns:
            The model on the CPU, in eval mode.

        Raises:
            FileFormatError: a file is missing, truncated, damaged, of another version of certvq, or
                its tensors do not fit the architecture.
            DigestMismatchError: the codebook is not the one that ``config.json`` was written for.
        """
        folder = find_model(directory)
        config, state = read_model(folder)
        _require_fit(folder / WEIGHTS, config, state)
        model = cls(config, generator=torch.Generator())
        model.load_state_dict(state, assign=True)
        return model.eval()

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        stride = self.config.downsampling
        require_images(images, channels=self.config.channels, stride=stride)
        require_same_device(self, images, "images")
        features: torch.Tensor = self.encoder(pad_to_stride(images, stride) - 0.5)
        return features

    def _image(self, vectors: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return self.decoder(vectors)[:, :, : size[0], : size[1]] + 0.5


def _require_fit(path: Path, config: VQVAEConfig, found: dict[str, torch.Tensor]) -> None:
    """Require the names, shapes and kinds of number that the architecture has.

    Nothing of the architecture's size is allocated, since a damaged one may have any size.
    """
    codebook = torch.empty(config.codebook_size, config.dim, device="meta")
    for name in codebook_names(config):
        _require_like(path, name, codebook, found[name])
    generator = torch.Generator()
    with torch.device("meta"):
        # The quantizer draws its codebooks on the CPU; their sizes have been compared above.
        expected = without_generators(VQVAE(config, generator=generator).state_dict())
    if expected.keys() != found.keys():
        missing, extra = sorted(expected.keys() - found), sorted(found.keys() - expected)
        text = (
            f"{path}: does not fit its architecture: missing tensors {missing[:3]}, unknown "
            f"tensors {extra[:3]}; save the model again"
        )
        raise FileFormatError(text)
    for name, tensor in expected.items():
        _require_like(path, name, tensor, found[name])


def _require_like(path: Path, name: str, wanted: torch.Tensor, got: torch.Tensor) -> None:
    flag = got.dtype == torch.bool and not got.ndim  # which earlier versions kept as such
    same_kind = flag or got.is_floating_point() == wanted.is_floating_point()
    if got.shape != wanted.shape or not same_kind:
        text = (
            f"{path}: tensor {name!r} must be {tuple(wanted.shape)} {wanted.dtype}, got "
            f"{tuple(got.shape)} {got.dtype}; save the model again"
        )
        raise FileFormatError(text)
