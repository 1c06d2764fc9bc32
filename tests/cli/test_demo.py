"""`certvq demo`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certvq.jobs import demo as main_job
from certvq.jobs import run_demo

Command = Callable[..., Any]


@pytest.fixture
def tiny_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo make one step of two crops."""
    config = main_job.demo_config

    def tiny(**options: Any) -> Any:
        return replace(config(**options), steps=1, batch_size=2)

    monkeypatch.setattr(main_job, "demo_config", tiny)


@pytest.mark.usefixtures("tiny_demo")
def test_the_demo_prints_its_figures_and_names_the_page(
    certvq_command: Command, pictures: Path, tmp_path: Path
) -> None:
    found = certvq_command("demo", "--out", tmp_path / "run", "--data", pictures)
    assert (found.status, found.err) == (0, "")
    assert str(tmp_path / "run" / "report.html") in found.out
    assert "audit violations" in found.out
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.usefixtures("tiny_demo")
def test_figures_as_json_are_those_of_the_summary(
    certvq_command: Command, pictures: Path, tmp_path: Path
) -> None:
    """A file that is no image is named on standard error and does not disturb the JSON."""
    (pictures / "notes.txt").write_text("no image")
    options = ("--out", tmp_path / "run", "--data", pictures, "--seed", 5, "--json")
    found = certvq_command("demo", *options)
    assert found.status == 0
    assert found.err.splitlines()[0].startswith(f"certvq: skipped {pictures / 'notes.txt'}: ")
    assert found.err.splitlines()[1:] == ["certvq: 1 files skipped"]
    figures = json.loads(found.out)
    assert figures == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert figures["seed"] == 5


@pytest.mark.usefixtures("tiny_demo")
def test_a_failed_check_is_status_1(
    certvq_command: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(*given: Any, **options: Any) -> Any:
        found = run_demo(*given, **options)
        return replace(found, summary=replace(found.summary, audit_violations=3))

    monkeypatch.setattr(main_job, "run_demo", spoiled)
    assert certvq_command("demo", "--out", tmp_path / "run", "--data", pictures).status == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--seconds", "0"], "seconds must be a finite number above 0, got 0.0"),
        (["--seed", "-1"], "seed must be a whole number in range(2**32), got -1"),
        (["--channels", "2"], "channels must be 1 or 3, got 2"),
        (["--data", "nothing"], "nothing: does not exist; check the path"),
    ],
)
def test_a_bad_option_is_one_line_and_leaves_nothing(
    certvq_command: Command, tmp_path: Path, options: list[str], text: str
) -> None:
    found = certvq_command("demo", "--out", tmp_path / "run", *options)
    assert (found.status, found.out) == (2, "")
    assert found.err == f"certvq: error: {text}\n"
    assert not (tmp_path / "run").exists()
