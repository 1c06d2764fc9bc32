"""TIFF files whose samples Pillow takes for something else.

In: a TIFF image that Pillow has opened and not yet decoded. Out: nothing where Pillow reads it
right, how to read it, or an error that names what it would have read wrongly. Must not decode, nor
import torch.
"""

from collections.abc import Mapping
from typing import Any

from PIL import TiffImagePlugin as Tiff

from certvq.errors import DataError

_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _INK_SET, _DNG_VERSION = 254, 255, 332, 50706
_JPEG = {6, 7}
_WHITE_IS_ZERO, _PALETTE, _INKS, _LUMA_CHROMA = 0, 3, 5, 6


def require_right_tiff(image: Tiff.TiffImageFile, *, limit: int) -> None:
    """Refuse a TIFF file that Pillow would read wrongly, without a word.

    Args:
        image: as opened.
        limit: of the pixels of a tile, each of which is unpacked as a whole.

    Raises:
        DataError: the first of its images is a smaller copy, a mask or a camera's raw samples; no
            photometric interpretation; numbers that are signed or floating; inks other than CMYK;
            a palette of 8-bit numbers; luma and chroma where they are not JPEG; planes of other
            than 8 bits or colour in a file without compression; a tile of more pixels than the
            limit.
    """
    if problem := _problem(image.tag_v2, image, limit):
        raise DataError(f"TIFF with {problem}; save it as PNG, or as plain 8-bit TIFF")


def mend_planes(image: Any) -> None:
    """Let Pillow take planes of 16 bits, not compressed, for what they are and not for 8 bits."""
    tags: Any = getattr(image, "tag_v2", {})
    plain = tags.get(Tiff.COMPRESSION, 1) == 1 and tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2
    if plain and image.mode == "RGB" and set(_bits(tags)) == {16}:
        order = "L" if tags.prefix == b"II" else "B"
        image.tile = [
            tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:])) for tile in image.tile
        ]


def white_is_zero(image: Any) -> bool:
    """Tell whether 16-bit samples, which Pillow takes as they are, grow from white to black."""
    tags = getattr(image, "tag_v2", {})
    return image.mode.startswith("I;16") and tags.get(Tiff.PHOTOMETRIC_INTERPRETATION) == 0


def bits_of_grey(image: Any) -> int:
    """Tell how many bits the samples of a 16-bit mode really have."""
    return _bits(getattr(image, "tag_v2", {}))[0] if image.format == "TIFF" else 16


def _problem(tags: Mapping[int, Any], image: Any, limit: int) -> str | None:
    photometric = tags.get(Tiff.PHOTOMETRIC_INTERPRETATION)
    plain = tags.get(Tiff.COMPRESSION, 1) == 1
    checks = (
        ("raw samples of a camera", _DNG_VERSION in tags),
        (
            "a smaller copy or a mask as its first image",
            tags.get(_NEW_SUBFILE_TYPE, 0) & 5 or tags.get(_SUBFILE_TYPE, 1) == 2,
        ),
        ("no photometric interpretation", photometric is None),
        (
            "signed or floating numbers, which have no fixed range",
            set(_tuple(tags.get(Tiff.SAMPLEFORMAT, 1))) - {1, 4},
        ),
        (
            f"tiles of more than the {limit} pixels allowed",
            _number(tags, Tiff.TILEWIDTH) * _number(tags, Tiff.TILELENGTH) > limit,
        ),
        (
            "inks other than cyan, magenta, yellow and black",
            photometric == _INKS and tags.get(_INK_SET, 1) != 1,
        ),
        (
            "inks in JPEG, which some writers invert",
            photometric == _INKS and tags.get(Tiff.COMPRESSION) in _JPEG,
        ),
        (
            "a palette of 8-bit numbers in place of 16-bit ones",
            photometric == _PALETTE and 0 < max(tags.get(Tiff.COLORMAP, (0,))) < 256,
        ),
        (
            "luma and chroma, not compressed as JPEG",
            photometric == _LUMA_CHROMA and tags.get(Tiff.COMPRESSION) not in _JPEG,
        ),
        (
            "planes, not compressed, of other than plain 8-bit or red, green and blue samples",
            plain and tags.get(Tiff.PLANAR_CONFIGURATION, 1) == 2 and not _are_plain_planes(image),
        ),
    )
    return next((text for text, found in checks if found), None)


def _are_plain_planes(image: Any) -> bool:
    """Tell whether the letters of a mode name its planes, as Pillow assumes: R, G, B of RGB.

    Of one plane, the first letter must be the whole name: `L` is, `L;I` (white is zero) is not.
    """
    tags = image.tag_v2
    several = tags.get(Tiff.SAMPLESPERPIXEL, 1) > 1
    extra = set(_tuple(tags.get(Tiff.EXTRASAMPLES, ())))
    if several:
        depths = ({8}, {16}) if image.mode == "RGB" else ({8},)  # see mend_planes
        return set(_bits(tags)) in depths and 1 not in extra and tags.get(Tiff.FILLORDER, 1) == 1
    white = tags.get(Tiff.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    whole = _bits(tags)[0] == (1 if image.mode == "1" else 8)
    return whole and not white and tags.get(Tiff.FILLORDER, 1) == 1


def _bits(tags: Mapping[int, Any]) -> tuple[int, ...]:
    return _tuple(tags.get(Tiff.BITSPERSAMPLE, 1))


def _number(tags: Mapping[int, Any], tag: int) -> int:
    value = tags.get(tag, 0)
    return value if isinstance(value, int) else 0


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
