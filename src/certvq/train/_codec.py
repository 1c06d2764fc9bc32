"""The classical codec that a VQ-VAE has to beat: k-means on pixel patches, at the same rate.

In: photographs to learn from and photographs to code. Out: the reconstructions of the latter. A
patch of P x P pixels becomes one of K codes, as a token of a VQ-VAE with stride P does, so both
spend ``log2(K) / P^2`` bits per pixel. Must not import torch.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin

from certvq._types import Float32, Float32Array, Progress, UInt8, UInt8Array, no_progress
from certvq.data import Photograph, require_usable
from certvq.errors import DataError, OptionError

_SAMPLE, _SAMPLE_PER_CODE = 160_000, 32
"""Patches to learn from: the larger of a number and of so many per code; chosen, not tuned."""

_START, _START_PER_CODE = 32_768, 8
"""Patches among which k-means++ chooses the first centres, likewise; it costs many iterations."""

_ROUNDS, _ITERATIONS_PER_ROUND = 10, 3
"""Lloyd iterations, in rounds so that progress can be shown; chosen, not tuned."""

_STAGE = "k-means codec"


def patch_kmeans_codec(
    train: Sequence[Photograph],
    heldout: Sequence[Photograph],
    *,
    patch: int,
    codebook_size: int,
    seed: int,
    progress: Progress = no_progress,
) -> dict[str, UInt8[UInt8Array, "H W C"]]:
    """Code photographs with k-means on pixel patches.

    The codebook is learnt from patches at random places of `train`, as many from each photograph,
    half of them mirrored, as the VQ-VAE's crops are. Photographs whose sides are no multiples of
    `patch` are padded by repeating their last row and column; reconstructions are cropped.

    Args:
        train: to learn the codebook from.
        heldout: to code; of as many channels.
        patch: P, side of a patch in pixels, at least 1.
        codebook_size: K, at least 1. Fewer are learnt where `train` has fewer patches than that.
        seed: of the places and of k-means++, at least 0.
        progress: called after each round of k-means.

    Returns:
        By key, the reconstructions, uint8 (H, W, C).

    Raises:
        OptionError: a number is out of its range.
        DataError: `train` or `heldout` is empty or repeats a key, channels are mixed, or a
            photograph is smaller than a patch; it is named.

    Guarantee: none about the codebook, which is a local optimum; each patch gets a code nearest in
    scikit-learn's floating-point arithmetic.
    Cost: with S = 160,000 patches of D = P * P * C values, O(S K D) for each of 30 iterations.

    References:
        Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
        Linde, Buzo and Gray, "An algorithm for vector quantizer design", 1980.
    """
    if codebook_size < 1:
        raise OptionError(f"codebook_size must be at least 1, got {codebook_size}")
    if seed < 0:
        raise OptionError(f"seed must be at least 0, got {seed}")
    require_usable(train, stride=patch)
    require_usable(heldout, stride=patch)
    if train[0].channels != heldout[0].channels:
        raise DataError(
            f"photograph {heldout[0].key!r} has {heldout[0].channels} channels, those to learn "
            f"from have {train[0].channels}; load all of them with the same channels"
        )
    random = np.random.default_rng(seed)
    sample = _sample(train, patch, max(_SAMPLE, _SAMPLE_PER_CODE * codebook_size), random)
    codebook = _fit(sample, codebook_size, random, progress)
    return {photograph.key: _code(photograph.pixels, codebook, patch) for photograph in heldout}


def _sample(
    train: Sequence[Photograph], patch: int, count: int, random: np.random.Generator
) -> Float32[Float32Array, "S values"]:
    """Cut as many patches out of each photograph: (S, patch * patch * channels), shuffled."""
    share = -(-count // len(train))
    parts: list[UInt8Array] = []
    for photograph in train:
        places = np.lib.stride_tricks.sliding_window_view(
            photograph.pixels, (patch, patch), axis=(0, 1)
        )
        number = min(share, places.shape[0] * places.shape[1])
        tops, lefts = (random.integers(places.shape[axis], size=number) for axis in (0, 1))
        windows = places[tops, lefts].transpose(0, 2, 3, 1)
        mirrored = random.integers(2, size=(number, 1, 1, 1)) == 1
        parts.append(np.where(mirrored, windows[:, :, ::-1], windows).reshape(number, -1))
    return random.permutation(np.concatenate(parts)).astype(np.float32)


def _fit(
    sample: Float32[Float32Array, "S values"],
    codebook_size: int,
    random: np.random.Generator,
    progress: Progress,
) -> Float32[Float32Array, "K values"]:
    """Learn code vectors and round them to pixel values, which is what a decoder shows."""
    start = sample[: max(_START, _START_PER_CODE * codebook_size)]
    seed = int(random.integers(2**32))
    centres, _ = kmeans_plusplus(start, min(codebook_size, len(start)), random_state=seed)
    with warnings.catch_warnings():
        # Flat photographs hold fewer different patches than codes; equal centres do no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for done in range(_ROUNDS):
            progress(_STAGE, done, _ROUNDS)
            options: dict[str, Any] = {"init": centres, "n_init": 1, "tol": 0}
            lloyd = KMeans(len(centres), max_iter=_ITERATIONS_PER_ROUND, **options)
            centres = lloyd.fit(sample).cluster_centers_
    progress(_STAGE, _ROUNDS, _ROUNDS)
    return np.clip(np.rint(centres), 0, 255).astype(np.float32)


def _code(
    pixels: UInt8[UInt8Array, "H W C"], codebook: Float32[Float32Array, "K values"], patch: int
) -> UInt8[UInt8Array, "H W C"]:
    """Replace each patch of a photograph by its nearest code vector."""
    height, width, channels = pixels.shape
    padding = ((0, -height % patch), (0, -width % patch), (0, 0))
    padded = np.pad(pixels, padding, mode="edge")
    rows, columns = padded.shape[0] // patch, padded.shape[1] // patch
    cells = padded.reshape(rows, patch, columns, patch, channels).swapaxes(1, 2)
    patches = cells.reshape(rows * columns, -1).astype(np.float32)
    codes = pairwise_distances_argmin(patches, codebook)
    blocks = codebook.astype(np.uint8)[codes].reshape(rows, columns, patch, patch, channels)
    return np.ascontiguousarray(blocks.swapaxes(1, 2).reshape(padded.shape)[:height, :width])
