"""Charts: what their figures hold, decoded from plotly's JSON."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from certvq.report._charts import code_histogram, codec_bars, loss_charts
from certvq.report._colours import hexadecimal
from certvq.runs._read import read_run


def _numbers(values):
    """Undo plotly's packing of arrays."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
    return np.array(values, dtype=np.float64)


@pytest.fixture
def run(run_dir):
    return read_run(run_dir)


def _colours(size):
    return (np.arange(3 * size) % 251).astype(np.uint8).reshape(size, 3)


def test_histogram_sorts_codes_and_keeps_their_colours():
    chart = code_histogram(np.array([3, 0, 7, 3]), _colours(4))
    [bars] = json.loads(chart.figure)["data"]
    assert _numbers(bars["x"]).tolist() == [1, 2, 3, 4]
    assert _numbers(bars["y"]).tolist() == [7, 3, 3, 0]
    assert bars["text"] == ["code 2", "code 0", "code 3", "code 1"]
    assert bars["marker"]["color"] == hexadecimal(_colours(4)[[2, 0, 3, 1]])


def test_histogram_marks_the_even_distribution():
    layout = json.loads(code_histogram(np.array([3, 0, 7, 2]), _colours(4)).figure)["layout"]
    assert layout["shapes"][0]["y0"] == layout["shapes"][0]["y1"] == 3.0


def test_histogram_of_many_codes_shows_means_of_neighbours():
    counts = np.arange(4096)
    [bars] = json.loads(code_histogram(counts, _colours(4096)).figure)["data"]
    heights = _numbers(bars["y"])
    assert len(heights) == 1024
    assert heights[0] == np.mean([4095, 4094, 4093, 4092])
    assert _numbers(bars["x"])[:3].tolist() == [1, 5, 9]
    assert bars["text"][0] == "mean of 4 codes"


def test_histogram_describes_itself():
    chart = code_histogram(np.array([3, 0, 7, 2]), _colours(4))
    assert chart.description.startswith("Bar chart: 3 of 4 codes occur, the most frequent one 7")


def test_histogram_of_no_tokens_is_drawn():
    assert json.loads(code_histogram(np.zeros(4, np.int64), _colours(4)).figure)["data"]


def test_curves_hold_the_numbers_of_each_split(run):
    charts = {chart.name: json.loads(chart.figure)["data"] for chart in loss_charts(run)}
    assert list(charts) == ["reconstruction_mse", "codebook_loss", "perplexity", "usage"]
    train, validation = charts["reconstruction_mse"]
    assert _numbers(train["x"]).tolist() == list(range(1, 41))
    assert _numbers(train["y"]).tolist() == [0.03 / step for step in range(1, 41)]
    assert _numbers(validation["x"]).tolist() == [10, 20, 30, 40]
    assert (train["name"], validation["name"]) == ("train", "validation")


def test_equal_losses_are_drawn_once_and_others_apart(run):
    assert len(json.loads(loss_charts(run)[1].figure)["data"]) == 2
    rows = tuple(row | {"commitment_loss": 2 * row["codebook_loss"]} for row in run.metrics)
    apart = json.loads(loss_charts(replace(run, metrics=rows))[1].figure)["data"]
    assert [trace["name"] for trace in apart] == [
        "codebook, train",
        "codebook, validation",
        "commitment, train",
        "commitment, validation",
    ]


def test_long_curves_become_means_of_stretches(run):
    rows = tuple({"split": "train", "step": step, "usage": step % 2} for step in range(4000))
    [chart] = loss_charts(replace(run, metrics=rows))
    [trace] = json.loads(chart.figure)["data"]
    assert _numbers(trace["y"]).tolist() == [0.5] * 400
    assert _numbers(trace["x"])[:2].tolist() == [4.5, 14.5]


def test_few_points_are_marked(run):
    train, validation = json.loads(loss_charts(run)[0].figure)["data"]
    assert (train["mode"], validation["mode"]) == ("lines", "lines+markers")


@pytest.mark.parametrize(
    ("values", "step"), [([0.5, 0.004], "D2"), ([0.5, 0.002], 1), ([0.0, -1.0], "D2")]
)
def test_long_logarithmic_scales_are_labelled_once_a_decade(run, values, step):
    rows = tuple(
        {"split": "train", "step": place, "reconstruction_mse": value}
        for place, value in enumerate(values)
    )
    [chart] = loss_charts(replace(run, metrics=rows))
    assert json.loads(chart.figure)["layout"]["yaxis"]["dtick"] == step


def test_what_is_no_number_is_left_out_of_a_curve(run):
    rows = ({"split": "train", "step": 1, "usage": None}, {"split": "train", "step": 2})
    assert loss_charts(replace(run, metrics=rows)) == ()


def test_bars_compare_each_photograph_and_all_pixels_together(run):
    chart = codec_bars(run, run.photos)
    figure = json.loads(chart.figure)
    model, kmeans = figure["data"]
    assert model["x"] == [25.0, 26.0, 27.0, 26.0]
    assert kmeans["x"] == [23.5, 24.5, 25.5, 24.5]
    labels = figure["layout"]["yaxis"]["ticktext"]
    assert labels == ["harbour", "hills", "portrait", "all pixels"]


def test_bars_without_a_codec_have_one_series(run):
    summary = replace(run.summary, psnr_kmeans=None)
    photos = tuple(
        replace(photo, figures=replace(photo.figures, psnr_kmeans=None)) for photo in run.photos
    )
    assert len(json.loads(codec_bars(replace(run, summary=summary), photos).figure)["data"]) == 1


def test_long_names_are_cut(run):
    photo = run.photos[0]
    long = replace(photo, figures=replace(photo.figures, key="a photograph with a long name"))
    labels = json.loads(codec_bars(run, [long]).figure)["layout"]["yaxis"]["ticktext"]
    assert labels[0] == "a photograph with…"


def test_colours_are_left_to_the_theme(run):
    for chart in (*loss_charts(run), codec_bars(run, run.photos)):
        assert "#" not in chart.figure


def test_a_key_that_looks_like_markup_is_text(run):
    photos = [
        replace(photo, figures=replace(photo.figures, key="<b>&a</b>")) for photo in run.photos
    ]
    [axis] = [json.loads(codec_bars(run, photos).figure)["layout"]["yaxis"]]
    assert axis["ticktext"][0] == "&lt;b&gt;&amp;a&lt;/b&gt;"
