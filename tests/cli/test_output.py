"""What the commands show, and where."""

import json

import pytest

from certvq.cli._output import progress_bars, show_figures, warn_skipped

FIGURES = {
    "rows": 12345,
    "share": 0.123456,
    "exact": True,
    "ways": {"filter": 3, "exact": 0},
    "images": ({"key": "a", "psnr": 25.0}, {"key": "b", "psnr": 26.0}),
}


def test_a_table_shows_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    show_figures("Here they are", FIGURES, as_json=False)
    out, err = capsys.readouterr()
    assert err == ""
    for text in ("Here they are", "rows", "12,345", "0.1235", "yes", "filter 3, exact 0", "key b"):
        assert text in out


def test_json_holds_every_figure_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    show_figures("not shown", FIGURES, as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(FIGURES))


def test_bars_are_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as progress:
        progress("reading", 1, 2)
        progress("reading", 2, 2)
        progress("thinking", 0, 0)
    assert capsys.readouterr() == ("", "")


def test_bars_go_to_standard_error_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars() as progress:
        progress("reading", 1, 2)
        progress("training", 7, 9)
    out, err = capsys.readouterr()
    assert out == ""
    for text in ("reading", "1/2", "training", "7/9"):
        assert text in err


def test_nothing_is_said_where_nothing_was_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    warn_skipped([])
    assert capsys.readouterr() == ("", "")


def test_a_name_of_two_lines_is_skipped_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    warn_skipped(["new\nline\x1b[2J.png: damaged"])
    assert capsys.readouterr().err.splitlines() == [
        "certvq: skipped new line\\x1b[2J.png: damaged",
        "certvq: 1 files skipped",
    ]


def test_figures_stay_alone_where_there_is_no_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)  # print would write to standard output
    warn_skipped(["a.png: damaged"])
    assert capsys.readouterr().out == ""


def test_infinite_figures_are_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_figures("", {"psnr": float("inf"), "rows": [{"x": float("nan")}]}, as_json=True)

    def never(name: str) -> None:
        raise AssertionError(name)

    found = json.loads(capsys.readouterr().out, parse_constant=never)
    assert found == {"psnr": "Infinity", "rows": [{"x": "NaN"}]}


def test_a_name_that_looks_like_markup_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_figures("", {"image": "[bold]a[/x] :smile:"}, as_json=False)
    assert "[bold]a[/x] :smile:" in capsys.readouterr().out


def test_where_there_is_no_terminal_long_work_is_told_in_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([1.0, 3.0, 4.0, 14.0, 14.5, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with progress_bars() as progress:
        for done, total in ((1, 9), (2, 9), (3, 9), (4, 9), (9, 9)):
            progress("reading", done, total)
        progress("training", 7, 0)
    assert capsys.readouterr().err.splitlines() == [
        "certvq: reading 2/9",
        "certvq: reading 4/9",
        "certvq: reading 9/9",
    ]
