"""The picture of a growth record."""

import sys
from xml.etree import ElementTree as ET

import pytest

from certvq.bench import growth_picture
from certvq.errors import BackendUnavailableError


def panel(grows, *points):
    sizes = {"rows": 8, "codebook_size": 4, "dim": 2}
    found = [
        {
            **sizes,
            grows: value,
            "contenders": {name: {"nanoseconds_per_row": time} for name, time in times},
        }
        for value, times in points
    ]
    return {"grows": grows, "points": found}


RECORD = {
    "cpu": "a < b",
    "threads": 2,
    "date": "2026-11-30T00:00:00",
    "panels": [
        panel("rows", (10, [("certvq", 20.0), ("faiss", 70.0)]), (1000, [("certvq", 30.0)])),
        panel("codebook_size"),
    ],
}
RECORD["panels"][0]["points"][1]["contenders"]["faiss"] = {"status": "skipped"}


def texts(svg):
    return [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314


def test_axes_have_titles_units_and_the_names_of_what_was_measured():
    shown = texts(growth_picture(RECORD))
    labels = {
        "latents N (rows)",
        "codebook size K (code vectors)",
        "K = 4, D = 2",
        "time per row (ns)",
    }
    assert labels | {"certvq", "faiss"} <= set(shown)
    assert "a < b" in growth_picture(RECORD).replace("&lt;", "<")


def test_a_contender_that_was_never_measured_is_not_drawn():
    record = {**RECORD, "panels": [panel("dim", (2, [("certvq", 5.0)]))]}
    record["panels"][0]["points"][0]["contenders"]["faiss"] = {"status": "not installed"}
    assert "faiss" not in texts(growth_picture(record))


def test_the_same_record_gives_the_same_text():
    assert growth_picture(RECORD) == growth_picture(RECORD)


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BackendUnavailableError, match=r"requires matplotlib.*certvq\[bench\]"):
        growth_picture(RECORD)
