"""What the template shows of each part of a run."""

from dataclasses import replace

import numpy as np
import pytest

from certvq.report._stability import stability
from certvq.report._view import (
    digests,
    histogram_view,
    photo_view,
    rows,
    shortened,
    stability_view,
    versions,
)
from certvq.runs._read import read_run


@pytest.fixture
def run(run_dir):
    return read_run(run_dir)


@pytest.fixture
def radii(run):
    figures = stability(run)
    assert figures is not None
    return figures


def _plain(text):
    return text.replace("\u202f", " ")


def test_photograph_has_three_pictures_and_two_maps(run, radii):
    view = photo_view(run.photos[1], np.zeros((16, 3), np.uint8), radii)
    assert [_plain(shown.caption) for shown in view.pictures] == [
        "Original",
        "From the codes: 26.00 dB",
        "k-means codec: 24.50 dB",
    ]
    assert view.token_map.caption == "hills: 9 × 13 tokens"
    assert (view.token_map.picture.width, view.token_map.picture.height) == (13, 9)
    assert view.stability_map is not None
    assert view.stability_map.picture.width == 13
    assert view.lacking == ()


def test_photograph_without_radii_has_no_stability_map(run, radii):
    photo = replace(run.photos[0], radius=None, kmeans=None)
    view = photo_view(photo, np.zeros((16, 3), np.uint8), radii)
    assert view.stability_map is None
    assert view.lacking == ("k-means codec",)


@pytest.mark.parametrize(
    ("top", "ticks"),
    [
        (0.09, [("0", "0"), ("33.3", "1 %"), ("74.5", "5 %"), ("100", "≥ 9 %")]),
        (0.06, [("0", "0"), ("40.8", "1 %"), ("100", "≥ 6 %")]),
        (5.0, [("0", "0"), ("10.0", "5 %"), ("100", "≥ 500 %")]),
        (0.004, [("0", "0"), ("100", "≥ 0.4 %")]),
    ],
)
def test_scale_is_labelled_where_there_is_room(radii, top, ticks):
    view = stability_view(replace(radii, top=top))
    assert [(place, _plain(text)) for place, text in view.ticks] == ticks


def test_histogram_counts_used_and_dead_codes():
    view = histogram_view(np.array([4, 0, 1, 0, 0]), np.zeros((5, 3), np.uint8))
    assert (view.used, view.dead) == (2, 3)


def test_digests_are_those_of_the_files(run):
    values = dict(digests(run))
    assert values["Codebook, SHA-256"] == run.header.codebook_sha256
    assert values["Model, SHA-256"] == run.header.model_sha256


def test_model_without_a_version_is_said_to_have_none(run):
    assert dict(versions(run))["certvq that wrote the model"] != "not stated"
    unversioned = replace(run, model={})
    assert dict(versions(unversioned))["certvq that wrote the model"] == "not stated"


def test_rows_are_flattened():
    assert rows({"a": {"b": {"c": 1}}, "d": None}) == (("a.b.c", "1"), ("d", "none"))


def test_long_lists_are_shortened():
    assert shortened(("a",) * 12) == ("a",) * 12
    assert shortened(("a",) * 14) == (*("a",) * 12, "and 2 more")
