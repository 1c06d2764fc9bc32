"""`certvq kmeans`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import certvq

Command = Callable[..., Any]
ROWS = np.random.default_rng(4).standard_normal((300, 3)).astype(np.float32)


def test_codebook_page_and_figures(certvq_command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", ROWS)
    options = ("--codes", 7, "--iterations", 5, "--page", tmp_path / "page.html")
    found = certvq_command("kmeans", tmp_path / "z.npy", "--out", tmp_path / "c.npy", *options)
    assert (found.status, found.err) == (0, "")
    assert str(tmp_path / "c.npy") in found.out
    wanted = certvq.kmeans(ROWS, 7, iterations=5)
    assert np.array_equal(np.load(tmp_path / "c.npy"), wanted.codebook)
    assert f"{wanted.inertia:.6g}" in (tmp_path / "page.html").read_text()


def test_every_option_reaches_kmeans_and_a_checkpoint_is_continued(
    certvq_command: Command, tmp_path: Path
) -> None:
    np.savez(tmp_path / "z.npz", z=ROWS, other=ROWS[:3])
    np.save(tmp_path / "w.npy", np.arange(300))
    options = (
        "--column",
        "z",
        "--start",
        "k-means||",
        "--seed",
        9,
        "--metric",
        "cosine",
        "--empty",
        "keep",
    )
    rest = ("--weights", tmp_path / "w.npy", "--checkpoint", tmp_path / "s.npz", "--json")
    command = ("kmeans", tmp_path / "z.npz", "--out", tmp_path / "c.npy", "--codes", 7)
    for iterations in (2, 30):
        options_now = ("--iterations", iterations, "--tolerance", 0.001)
        figures = json.loads(certvq_command(*command, *options, *rest, *options_now).out)
    wanted = certvq.kmeans(
        ROWS,
        7,
        start="k-means||",
        seed=9,
        metric="cosine",
        empty="keep",
        weights=np.arange(300),
        iterations=30,
        tolerance=0.001,
    )
    assert (figures["stopped"], figures["iterations"]) == ("tolerance", wanted.iterations)
    assert figures["inertia"] == wanted.inertia
    assert np.array_equal(np.load(tmp_path / "c.npy"), wanted.codebook)


def test_a_refusal_is_one_line_and_leaves_nothing(certvq_command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", ROWS)
    np.savez(tmp_path / "two.npz", a=ROWS, b=ROWS)
    for options, text in (
        (("--codes", 301), "got 300 rows for 301 codes"),
        (("--codes", 4, "--start", "best"), "start must be one of 'k-means++'"),
        (("--codes", 4, "--iterations", -1), "iterations must be an integer of at least 0"),
        (("--codes", 4, tmp_path / "two.npz"), "one of its arrays or lists, 'a', 'b', got None"),
    ):
        out = tmp_path / "c.npy"
        found = certvq_command("kmeans", tmp_path / "z.npy", "--out", out, *options)
        assert (found.status, found.out, found.err.count("\n")) == (2, "", 1)
        assert text in found.err
        assert not out.exists()
