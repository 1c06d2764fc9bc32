"""The page of a codebook: figures, curve and sizes are those of the result."""

import json
import re
from pathlib import Path

import numpy as np

import certvq
from certvq.report import write_kmeans_page
from certvq.report._kmeans import write_kmeans_page as written

ROWS = np.random.default_rng(4).standard_normal((300, 3))


def figure(page: str, name: str) -> dict[str, list[float]]:
    found = re.search(rf'id="figure-{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])["data"][0]


def numbers(values: object) -> list[float]:
    """Read plotly's arrays, which may be bytes in base 64."""
    if isinstance(values, dict):
        import base64

        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    assert isinstance(values, list)
    return values


def test_the_page_shows_what_was_found(tmp_path: Path) -> None:
    start = np.concatenate([ROWS[:9], np.full((1, 3), 99.0)])
    found = certvq.kmeans(ROWS, 10, start=start, empty="keep", iterations=4)
    write_kmeans_page(tmp_path / "page.html", found, data="<z>.npy")
    page = (tmp_path / "page.html").read_text()
    assert "&lt;z&gt;.npy" in page
    assert "1 of them with an empty cell" in page
    assert "from the result of k-means" in page
    assert numbers(figure(page, "inertia")["y"]) == list(found.history)
    assert numbers(figure(page, "sizes")["y"]) == sorted(found.counts.tolist(), reverse=True)
    assert written is write_kmeans_page


def test_an_inertia_of_zero_is_told(tmp_path: Path) -> None:
    found = certvq.kmeans(ROWS[:4], 4)
    write_kmeans_page(tmp_path / "page.html", found, data="rows")
    page = (tmp_path / "page.html").read_text()
    assert "0 from the start on" in page
    assert "the codebook repeats itself" in page
