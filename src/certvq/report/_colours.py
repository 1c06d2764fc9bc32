"""Colours that carry a meaning: one for each code, one for each radius.

In: a codebook, or radii. Out: uint8 RGB. Must not touch files.
"""

import numpy as np

from certvq._types import Float64Array, Int64Array, UInt8Array

# Oklab -> linear sRGB (B. Ottosson, "A perceptual color space for image processing", 2020)
_OKLAB_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
# Oklab coordinates of a code in the middle; how far one standard deviation of the first principal
# component reaches, in every direction alike, so that distances of colours are those of codes; and
# where lightness, green to red and blue to yellow end
_MIDDLE = np.array([0.66, 0.0, 0.0])
_REACH = 0.14
_FURTHEST = np.array([0.31, 0.12, 0.12])

# close to a border is light and warm, far from it dark and cool, for every kind of colour vision
_SEQUENCE = np.array(
    [
        [255, 247, 188],
        [254, 200, 104],
        [240, 138, 82],
        [199, 78, 98],
        [128, 48, 105],
        [66, 31, 86],
        [24, 18, 48],
    ],
    dtype=np.float64,
)


def code_colours(
    codebook: Float64Array, counts: Int64Array, *, tints: Float64Array | None = None
) -> UInt8Array:
    """Give similar code vectors similar colours.

    The first three principal components of the code vectors, each counted as often as it occurs,
    become lightness, green-red and blue-yellow in the perceptual space Oklab, on one scale. A
    component has no sign of its own; it is turned so that codes of light, red or yellow places
    become so.

    Args:
        codebook: (codebook_size, dim).
        counts: (codebook_size,), how often each code occurs; all zero counts every code once.
        tints: (codebook_size, 3), sums over the places of each code of how light, how red rather
            than green and how yellow rather than blue they are; None leaves the signs to chance.

    Returns:
        (codebook_size, 3) RGB.
    """
    weights = counts / counts.sum() if counts.any() else np.full(len(codebook), 1 / len(codebook))
    centred = codebook - weights @ codebook
    _, lengths, axes = np.linalg.svd(centred * np.sqrt(weights)[:, None], full_matrices=False)
    places = np.zeros((len(codebook), 3))
    for axis in range(min(3, int((lengths > 0).sum()))):
        places[:, axis] = centred @ axes[axis] / lengths[0]
        if tints is not None and places[:, axis] @ tints[:, axis] < 0:
            places[:, axis] *= -1
    return _oklab_to_rgb(_MIDDLE + np.clip(_REACH * places, -_FURTHEST, _FURTHEST))


def radius_colours(radius: Float64Array, top: float) -> UInt8Array:
    """Colour radii from 0 (light) to `top` and more (dark), by their square root.

    Args:
        radius: any shape, at least 0, infinity allowed.
        top: the radius from which on all colours are the same; above 0.

    Returns:
        RGB, of the shape of `radius` and a last axis of 3.
    """
    place = scale_place(radius, top) * (len(_SEQUENCE) - 1)
    knots = np.arange(len(_SEQUENCE))
    channels = [np.interp(place, knots, _SEQUENCE[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def scale_place(radius: Float64Array, top: float) -> Float64Array:
    """Return where radii stand on the scale, from 0 (radius 0) to 1 (`top` and more).

    The root spreads the small radii, which are the interesting ones.
    """
    return np.sqrt(np.minimum(radius / top, 1))


def hexadecimal(colours: UInt8Array) -> list[str]:
    """Write RGB colours (n, 3) as CSS does."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours.tolist()]


def radius_gradient() -> str:
    """Return the scale of `radius_colours` as a CSS gradient from left (0) to right (`top`)."""
    return f"linear-gradient(to right, {', '.join(hexadecimal(_SEQUENCE.astype(np.uint8)))})"


def _oklab_to_rgb(oklab: Float64Array) -> UInt8Array:
    linear = np.clip((oklab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * shown).round().astype(np.uint8)
