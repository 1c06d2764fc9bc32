"""The classical codec is well fitted, and spends the bits of a VQ-VAE of its stride and codes."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from certvq.data import from_arrays
from certvq.errors import DataError, OptionError
from certvq.train import _codec, patch_kmeans_codec, psnr


def patches(pixels, size):
    height, width, channels = pixels.shape
    cells = pixels.reshape(height // size, size, width // size, size, channels).swapaxes(1, 2)
    return cells.reshape(-1, size * size * channels)


@pytest.fixture
def smooth(rng):
    """Photograph-like arrays: noise smeared over neighbours."""

    def make(height, width, channels=3):
        noise = rng.standard_normal((height + 6, width + 6, channels))
        for _ in range(3):
            noise = noise[1:-1] + noise[:-2] + noise[2:]
            noise = noise[:, 1:-1] + noise[:, :-2] + noise[:, 2:]
        return np.clip(128 + noise * 40 / noise.std(), 0, 255).astype(np.uint8)

    return make


def test_with_more_codes_than_different_patches_all_come_back_exactly(rng):
    """And without scikit-learn's warning of equal centres, which would fail the test."""
    levels = rng.integers(0, 256, (7, 1, 1, 3), dtype=np.uint8)
    photographs = from_arrays(levels + np.zeros((1, 9, 10, 1), np.uint8))
    result = patch_kmeans_codec(photographs, photographs, patch=4, codebook_size=16, seed=0)
    assert all(np.array_equal(result[p.key], p.pixels) for p in photographs)


def test_at_most_as_many_different_patches_as_codes(smooth):
    train, heldout = from_arrays([smooth(64, 64)]), from_arrays({"h": smooth(32, 48)})
    result = patch_kmeans_codec(train, heldout, patch=4, codebook_size=20, seed=0)["h"]
    distinct = np.unique(patches(result, 4), axis=0)
    assert 10 < len(distinct) <= 20


def test_each_patch_gets_the_nearest_of_those_used(smooth):
    train, heldout = from_arrays([smooth(64, 64)]), from_arrays({"h": smooth(32, 48)})
    result = patch_kmeans_codec(train, heldout, patch=4, codebook_size=20, seed=0)["h"]
    original = patches(heldout[0].pixels, 4).astype(int)
    chosen = patches(result, 4).astype(int)
    used = np.unique(chosen, axis=0)
    every = np.square(original[:, None] - used).sum(axis=2)
    assert np.array_equal(np.square(original - chosen).sum(axis=1), every.min(axis=1))


def test_it_is_as_well_fitted_as_k_means_with_many_iterations_on_all_patches(smooth):
    train, heldout = from_arrays([smooth(64, 64) for _ in range(3)]), smooth(64, 64)
    result = patch_kmeans_codec(
        train, from_arrays({"h": heldout}), patch=4, codebook_size=32, seed=0
    )
    places = [
        patches(p.pixels[top : 60 + top, left : 60 + left], 4)
        for p in train
        for top in range(4)
        for left in range(4)
    ]
    long = KMeans(32, n_init=2, max_iter=100, random_state=0).fit(np.concatenate(places))
    blocks = patches(heldout, 4)
    best = np.rint(long.cluster_centers_)[long.predict(blocks.astype(float))].astype(np.uint8)
    assert psnr(heldout, result["h"]) > psnr(blocks, best) - 0.1


def test_sizes_that_are_no_multiples_are_padded_by_repetition_and_cropped(smooth):
    train, pixels = from_arrays([smooth(64, 64)]), smooth(10, 13)
    odd = patch_kmeans_codec(train, from_arrays({"h": pixels}), patch=4, codebook_size=20, seed=0)
    padded = np.pad(pixels, ((0, 2), (0, 3), (0, 0)), mode="edge")
    even = patch_kmeans_codec(train, from_arrays({"h": padded}), patch=4, codebook_size=20, seed=0)
    assert odd["h"].shape == (10, 13, 3)
    assert odd["h"].flags.c_contiguous
    assert np.array_equal(odd["h"], even["h"][:10, :13])


def test_grey_photographs_are_coded_too(smooth):
    train, heldout = from_arrays([smooth(40, 40, 1)]), from_arrays({"h": smooth(16, 16, 1)})
    result = patch_kmeans_codec(train, heldout, patch=4, codebook_size=30, seed=0)["h"]
    assert result.shape == (16, 16, 1)
    assert psnr(result, heldout[0].pixels) > 20


def test_the_seed_decides(smooth):
    train, heldout = from_arrays([smooth(64, 64)]), from_arrays({"h": smooth(32, 32)})

    def run(seed):
        return patch_kmeans_codec(train, heldout, patch=4, codebook_size=16, seed=seed)["h"]

    assert np.array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(2**62))


def test_it_never_learns_from_what_it_codes(smooth):
    train, heldout = from_arrays([smooth(64, 64)]), smooth(32, 32)
    one = from_arrays({"h": heldout})
    both = from_arrays({"h": heldout, "other": 255 - heldout})
    alone = patch_kmeans_codec(train, one, patch=4, codebook_size=16, seed=0)["h"]
    assert np.array_equal(
        patch_kmeans_codec(train, both, patch=4, codebook_size=16, seed=0)["h"], alone
    )


def test_every_photograph_has_its_share_of_the_sample(rng):
    small, large = np.zeros((4, 4, 1), np.uint8), np.ones((200, 300, 1), np.uint8)
    middle = np.full((150, 200, 1), 2, np.uint8)
    sample = _codec._sample(from_arrays([small, large, middle]), 2, 3000, rng)
    levels = sample[:, 0].tolist()
    assert [levels.count(level) for level in (0, 1, 2)] == [9, 1000, 1000]
    assert sorted(levels) != levels


def test_patches_are_windows_or_their_mirror_images_and_all_occur(rng):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    windows = [pixels[t : t + 2, x : x + 2] for t in range(2) for x in range(3)]
    expected = {w.tobytes() for w in windows} | {w[:, ::-1].tobytes() for w in windows}
    image = np.tile(pixels, (1, 1, 1))
    big = from_arrays([image] * 100)
    sample = _codec._sample(big, 2, 600, rng).astype(np.uint8)
    assert {row.tobytes() for row in sample} == expected


def test_progress_counts_the_rounds(smooth):
    seen = []
    photographs = from_arrays([smooth(16, 16)])
    patch_kmeans_codec(
        photographs,
        photographs,
        patch=4,
        codebook_size=4,
        seed=0,
        progress=lambda *step: seen.append(step),
    )
    assert seen == [("k-means codec", done, 10) for done in range(11)]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"codebook_size": 0}, OptionError, "codebook_size must be at least 1, got 0"),
        ({"seed": -1}, OptionError, "seed must be at least 0, got -1"),
        ({"patch": 0}, OptionError, "stride must be at least 1, got 0"),
        ({"patch": 17}, DataError, "photograph '0' is 16 x 16 pixels, smaller than the stride"),
    ],
)
def test_options_out_of_their_range_are_refused(smooth, options, error, text):
    photographs = from_arrays([smooth(16, 16)])
    with pytest.raises(error, match=text):
        patch_kmeans_codec(
            photographs, photographs, **{"patch": 4, "codebook_size": 4, "seed": 0, **options}
        )


def test_unusable_photographs_are_named(smooth):
    colour, grey = from_arrays({"c": smooth(16, 16)}), from_arrays({"g": smooth(16, 16, 1)})
    with pytest.raises(DataError) as caught:
        patch_kmeans_codec(colour, grey, patch=4, codebook_size=4, seed=0)
    assert str(caught.value) == (
        "photograph 'g' has 1 channels, those to learn from have 3; "
        "load all of them with the same channels"
    )
    for train, heldout in ((colour, []), ([], colour)):
        with pytest.raises(DataError, match="at least one photograph is needed, got none"):
            patch_kmeans_codec(train, heldout, patch=4, codebook_size=4, seed=0)
