"""The one callable that makes tokens: a batch of inputs to columns.

In: keys and files, bytes or arrays. Out: the columns of a token data set, each code certified. It
can be pickled, and opens the model where it is first called. Must not know of engines or output
files.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from certvq.assign import Assignment, Prepared
from certvq.assign._watch import watching
from certvq.errors import (
    CertificateError,
    DataError,
    DTypeError,
    NonFiniteError,
    OptionError,
    ShapeError,
)
from certvq.tokenize._canonical import CanonicalWay, is_of_the_model
from certvq.tokenize._codecs._codec import Codec
from certvq.tokenize._codecs._open import ModelSource, open_codec
from certvq.tokenize._items import Data
from certvq.tokenize._media import Reading, read_latents, read_pixels, read_sound

Columns: TypeAlias = dict[str, list[Any]]

_COLUMNS: Final = ("key", "shape", "size", "codes", "decided_by", "reason")
_WAYS: Final = 3
_OPENING: Final = RLock()


@dataclass(eq=False)
class TokenEncoder:
    """Make the columns of a token data set of a batch of inputs.

    Attributes:
        model: where the model is; see `open_codec`.
        reading: how inputs are made fit.
        latents: whether the inputs are latents.
        quantizers: how many codebooks of a residual codec; None for its own default.
        device: where the model runs.
        threads: of the processor, for one forward pass. None leaves torch's setting.
        group: how many inputs of one shape go through the model together. Groups are counted from
            the beginning of a batch, so a batch must hold whole groups.
        canonical: whether the codes are those of the network over the real numbers
            (`certvq.canonical_codes`); `decided_by` then counts float64, wider and exact.

    Guarantee: each code is the lowest nearest one of the latent that the model computed
    (`certvq.assign`); a model whose codes are others is refused. With `group` 1 the codes of an
    input depend on it, the model, the versions of the libraries, the processor and `threads`, and
    on no other input. Inputs of unlike shape are never padded to one another. With `canonical` the
    codes depend on the bytes of the input and the model alone.

    Example:
        >>> codebook = torch.tensor([[0.0], [1.0]])
        >>> def model():
        ...     find = lambda z: certvq.assign(z.reshape(-1, 1), codebook).codes.view(z.shape[:-1])
        ...     return Codec(
        ...         module=torch.nn.Identity(), modality="latent", codebooks=[codebook], encode=find
        ...     )
        >>> import certvq
        >>> data = [np.eye(2)[..., None]]
        >>> found = TokenEncoder(model, latents=True)({"key": ["a"], "data": data})
        >>> found["shape"], found["codes"][0].tolist(), found["decided_by"]
        ([(2, 2)], [1, 0, 0, 1], [(4, 0, 0)])
    """

    model: ModelSource
    reading: Reading = field(default_factory=Reading)
    latents: bool = False
    quantizers: int | None = None
    device: str = "cpu"
    threads: int | None = None
    group: int = 1
    canonical: bool = False
    _codec: Codec | None = field(default=None, init=False, repr=False)
    _way: CanonicalWay | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("group", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be at least 1, got {value}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_codec": None, "_way": None}

    @property
    def codec(self) -> Codec:
        """The model, opened when it is first needed, by one thread."""
        with _OPENING:
            if self._codec is None:
                codec = open_codec(
                    self.model, latents=self.latents, quantizers=self.quantizers, device=self.device
                )
                self._way = CanonicalWay(codec) if self.canonical else None
                self._codec = codec
        return self._codec

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> Columns:
        """Encode a batch.

        Args:
            batch: ``key``, a text for each input; and ``data``, the path or the bytes of a file, or
                an array: uint8 (H, W, C), floats (C, T) at the model's rate, latents (..., D).

        Returns:
            ``key``, ``shape`` (the grid, then the number of codebooks if there are several),
            ``size`` (height and width, or samples and rate), ``codes`` (int64, flat),
            ``decided_by`` (three counts) and ``reason``: None, or why the input has no codes; then
            the other columns but ``key`` are None. Of a codec with side numbers also ``side``.

        Raises:
            OptionError: a sound of another rate than the model's, which is not resampled.
            CertificateError: the model's codes are none that a certified search found.
        """
        keys, data = list(batch["key"]), list(batch["data"])
        names = (*_COLUMNS, "side") if self.codec.side else _COLUMNS
        found: Columns = {name: [None] * len(keys) for name in names}
        found["key"] = keys
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        device = self.codec.device.type
        with nullcontext() if self.canonical else steady(device):  # a graph needs no such mode
            for first in range(0, len(keys), self.group):
                rows = range(first, min(first + self.group, len(keys)))
                read = {row: self._read_into(found, row, data[row]) for row in rows}
                self._encode_all({row: x for row, x in read.items() if x is not None}, found)
        return found

    def _read_into(self, found: Columns, row: int, data: Data) -> torch.Tensor | None:
        try:
            tensor, found["size"][row] = self._read(data)
        except DataError as error:
            found["reason"][row] = _one_line(error)
        except OptionError as error:
            raise OptionError(f"{found['key'][row]}: {error}") from error
        else:
            return tensor
        return None

    def _read(self, data: Data) -> tuple[torch.Tensor, tuple[int, ...]]:
        codec = self.codec
        if codec.modality == "latent":
            return torch.from_numpy(read_latents(data, dim=codec.dim)).to(codec.device), ()
        if codec.modality == "audio":
            assert codec.rate is not None
            samples = read_sound(data, self.reading, rate=codec.rate)
            self._require_channels(len(samples))
            size = samples.shape[1], codec.rate
            if self.canonical:
                return codec.padded(torch.from_numpy(samples)), size
            return codec.of_samples(samples), size
        pixels = read_pixels(data, self.reading)
        self._require_channels(pixels.shape[2])
        size = pixels.shape[0], pixels.shape[1]
        if self.canonical:
            return torch.from_numpy(np.array(pixels)).permute(2, 0, 1), size
        return codec.of_pixels(pixels), size

    def _require_channels(self, channels: int) -> None:
        wanted = self.codec.channels
        if wanted not in (None, channels):
            is_sound = self.codec.modality == "audio"
            can = wanted == 1 or (wanted, is_sound, channels) == (2, True, 1)
            can = can or (wanted, is_sound) == (3, False)
            advice = f"channels={wanted} (--channels {wanted}) converts it" if can else "convert it"
            raise DataError(f"has {channels} channels, the model takes {wanted}; {advice}")

    def _encode_all(self, inputs: Mapping[int, torch.Tensor], found: Columns) -> None:
        """Encode inputs of one shape together, in the order of their first."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for row, each in inputs.items():
            alike.setdefault((each.dtype, *each.shape), []).append(row)
        for rows in alike.values():
            self._encode_alike(rows, inputs, found)

    def _encode_alike(
        self, rows: list[int], inputs: Mapping[int, torch.Tensor], found: Columns
    ) -> None:
        try:
            self._encode(rows, torch.stack([inputs[row] for row in rows]), found)
        except _OF_THE_INPUT as error:
            if _is_fatal(error):
                raise
            if len(rows) == 1:
                found["reason"][rows[0]] = _one_line(error)
                return
            for row in rows:  # each by itself, so that one cannot spoil the others
                self._encode_alike([row], inputs, found)

    def _encode(self, rows: list[int], batch: torch.Tensor, found: Columns) -> None:
        if self._way is not None:
            for row, each in zip(rows, self._way(batch), strict=True):
                found["reason"][row] = each.reason
                if each.reason is None:
                    _enter(found, row, each.codes, each.decided_by)
            return
        codec, seen = self.codec, _Seen(len(rows))
        with watching(seen.see):
            tensor, side = _apart(codec, codec.encode(batch))
        codes = tensor.cpu().numpy().astype(np.int64, copy=False)
        rank = batch.ndim - 2  # all but the batch and the channels, or the dim
        codes = _gridded(codes, rank, len(codec.codebooks))
        decided = seen.of(codes)
        for place, row in enumerate(rows):
            _enter(found, row, codes[place], decided[place])
            if side is not None:
                found["side"][row] = tuple(side[place])


def _apart(codec: Codec, found: Any) -> tuple[torch.Tensor, list[list[float]] | None]:
    """Return codes, and the side numbers of a codec that has them.

    Raises:
        CertificateError: the model returned something else.
        NonFiniteError: a side number is NaN or infinite.
    """
    codes, side = found if isinstance(found, tuple) else (found, None)
    fits = isinstance(side, torch.Tensor) and side.ndim == 2 and len(side) == len(codes)
    if codec.side != fits or (side is not None and not codec.side):
        wanted = "codes, and side numbers (B, any number)" if codec.side else "codes alone"
        got = "none" if side is None else tuple(getattr(side, "shape", (type(side).__name__,)))
        raise CertificateError(f"the model must return {wanted}; got side numbers {got}")
    if side is None:
        return codes, None
    if not bool(torch.isfinite(side).all()):
        raise NonFiniteError("its side numbers must be finite, got NaN or infinity")
    return codes, side.double().cpu().tolist()


def _enter(found: Columns, row: int, codes: np.ndarray, decided: Sequence[int]) -> None:
    found["shape"][row] = codes.shape
    found["codes"][row] = codes.reshape(-1)
    found["decided_by"][row] = tuple(int(count) for count in decided)


_OF_THE_INPUT: Final = (NonFiniteError, ShapeError, DTypeError, RuntimeError, ValueError)
"""What a model may raise of one input: NaN, too short a sound, too small an image."""


class _Seen:
    """The searches below one forward pass."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.codes: list[np.ndarray] = []
        self.decided = np.zeros((batch, _WAYS), np.int64)

    def see(self, found: Assignment, codebook: Prepared | None) -> None:
        del codebook
        codes, ways = (torch.as_tensor(x).cpu().numpy() for x in (found.codes, found.decided_by))
        self.codes.append(codes)
        for place, each in enumerate(np.array_split(ways, self.batch)):
            self.decided[place] += np.bincount(each, minlength=_WAYS + 1)[1:]

    def of(self, codes: np.ndarray) -> np.ndarray:
        """Return the counts (B, 3), if the codes are those that the searches found.

        Raises:
            CertificateError: they are others.
        """
        searched = np.concatenate([np.zeros(0, np.int64), *self.codes])
        if searched.size != codes.size or not _same_counts(searched, codes.reshape(-1)):
            raise CertificateError(
                f"the model returned {codes.size} codes, and certified searches below it found "
                f"{searched.size}{'' if searched.size != codes.size else ' others'}; its codes "
                "must be those of certvq.assign, or of a quantizer that certvq.patch_module knows"
            )
        return self.decided


def _same_counts(one: np.ndarray, other: np.ndarray) -> bool:
    most = int(max(one.max(initial=0), other.max(initial=0))) + 1
    if other.min(initial=0) < 0:
        return False
    return np.array_equal(np.bincount(one, minlength=most), np.bincount(other, minlength=most))


def _is_fatal(error: Exception) -> bool:
    if isinstance(error, CertificateError) or is_of_the_model(error):
        return True
    texts = ("out of memory", "allocate", "bad_alloc")
    return any(text in str(error).lower() for text in texts)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


@contextmanager
def steady(device: str) -> Iterator[None]:
    """Run a block in inference mode, in the model's own type, repeatably."""
    cudnn = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with (
        torch.inference_mode(),
        torch.autocast(device, enabled=False),
        cudnn if device == "cuda" else nullcontext(),
    ):
        yield


def _gridded(codes: np.ndarray, rank: int, books: int) -> np.ndarray:
    """Bring codes to (B, ...grid), or (B, ...grid, books) of several codebooks.

    Raises:
        CertificateError: they have another shape.
    """
    if books == 1 and codes.ndim == rank + 2 and codes.shape[-1] == 1:
        codes = codes[..., 0]
    wanted = rank + 1 + (books > 1)
    if codes.ndim != wanted or (books > 1 and codes.shape[-1] != books):
        raise CertificateError(
            f"the model must return codes of {wanted} axes (batch, grid"
            f"{f', {books} codebooks' if books > 1 else ''}), got the shape {codes.shape}"
        )
    return codes
