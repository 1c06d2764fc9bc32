"""The tokens of a run over the real numbers, in words and as a chart."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from certvq.report import write_report
from certvq.report._canonical import canonical_view
from certvq.runs._read import read_run


def numbers(values):
    """Return an array of plotly's JSON."""
    return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])


@pytest.fixture
def run(run_dir):
    return read_run(run_dir)


def test_rows_say_how_many_codes_of_a_rounded_run_are_others(run):
    view = canonical_view(run)
    assert (view.tokens, view.open, view.least) == ("468", 1, "0")
    assert view.rungs == (("FLOAT64", "466"), ("WIDER", "0"), ("EXACT", "2"), ("OPEN", "1"))
    rows = [(row.name, row.same, row.other, row.moved) for row in view.rows]
    assert rows[0] == ("float32", "468", "1", "1e-07")
    assert rows[2] == ("bfloat16", "429", "40", "0.002")


def test_the_chart_counts_margins_below_each_point(run):
    figure = json.loads(canonical_view(run).chart.figure)
    margins = np.concatenate([photo.margin.ravel() for photo in run.photos])
    curve, *noise = figure["data"]
    places, shares = numbers(curve["x"]), numbers(curve["y"])
    assert len(places) > 100
    assert shares.tolist() == [(margins <= place).mean() for place in places]
    assert [(line["name"], line["x"][0]) for line in noise] == [
        ("float32 moves latents", 1e-7),
        ("bfloat16 moves latents", 0.002),
    ]


def test_without_margins_there_is_no_chart(run):
    photos = tuple(replace(photo, margin=None) for photo in run.photos)
    assert canonical_view(replace(run, photos=photos)).chart is None
    ties = tuple(replace(photo, margin=np.zeros((2, 2))) for photo in run.photos)
    assert canonical_view(replace(run, photos=ties)).chart is None


def test_the_page_says_what_it_has(run_dir, outline, change_summary):
    text = outline(write_report(run_dir)).text
    assert "468 of 469 tokens are decided; 1 are open, and count as other codes below" in text
    assert "bfloat16 429 40" in text
    (run_dir / "heldout/canonical.npz").unlink()
    assert "Not shown: heldout/canonical.npz" in outline(write_report(run_dir)).text
    change_summary(canonical=None)
    page = outline(write_report(run_dir)).text
    assert "Not computed: this run has no canonical codes" in page
    assert "heldout/canonical.npz" not in page
