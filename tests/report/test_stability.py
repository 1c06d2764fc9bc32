"""How close tokens sit to the border of their cells, in figures."""

from dataclasses import replace

import numpy as np
import pytest

from certvq.report._stability import near_border, stability
from certvq.runs._read import read_run


@pytest.fixture
def run(run_dir):
    return read_run(run_dir)


def _known(run):
    figures = stability(run)
    assert figures is not None
    return figures


def _with_radii(run, value):
    photos = tuple(
        replace(photo, radius=np.full(photo.codes.shape, float(value))) for photo in run.photos
    )
    return replace(run, photos=photos)


def test_shares_count_radii_below_one_and_five_percent():
    radius = np.array([[0.0, 0.019, 0.02], [0.099, 0.1, np.inf]])
    assert near_border(radius, 2.0) == (2 / 6, 4 / 6)


def test_radii_are_relative_to_the_latents(run):
    figures = _known(run)
    radius = np.concatenate([photo.radius.ravel() for photo in run.photos])
    assert figures.unit == run.latent_norm
    assert figures.reference == "the root mean square of the latents' norms"
    assert figures.median == np.median(radius) / run.latent_norm
    assert figures.shares == near_border(radius, run.latent_norm)


def test_scale_ends_where_two_percent_of_the_radii_are_left(run):
    figures = _known(run)
    radius = np.concatenate([photo.radius.ravel() for photo in run.photos])
    above = (radius / figures.unit > figures.top).mean()
    assert 0.02 <= above < 0.02 + 1 / len(radius)


def test_without_latents_the_chosen_code_vectors_are_the_measure(run):
    figures = _known(replace(run, latent_norm=None))
    codes = np.concatenate([photo.codes.ravel() for photo in run.photos])
    expected = np.sqrt((run.codebook[codes] ** 2).sum() / len(codes))
    assert abs(figures.unit - expected) < 1e-12 * expected
    assert figures.reference == "the root mean square of the norms of the code vectors chosen"


def test_latents_and_code_vectors_of_zero_leave_the_plain_unit(run):
    zero = replace(run, latent_norm=0.0, codebook=np.zeros_like(run.codebook))
    figures = _known(zero)
    assert figures.unit == 1.0
    assert figures.reference == "the unit of the latents (they are all zero)"


def test_endless_radii_have_no_scale(run):
    figures = _known(_with_radii(run, np.inf))
    assert figures.top == 0.0
    assert figures.median == np.inf
    assert figures.shares == (0.0, 0.0)


def test_radii_of_zero_have_no_scale(run):
    figures = _known(_with_radii(run, 0))
    assert figures.top == 0.0
    assert figures.shares == (1.0, 1.0)


def test_without_radii_there_is_nothing_to_say(run):
    photos = tuple(replace(photo, radius=None) for photo in run.photos)
    assert stability(replace(run, photos=photos)) is None
