"""How many pixels a file may unpack to: by its length, by the caller, by the environment."""

import pytest

from certvq.data._pixel_limit import MAX_PIXELS, SMALL_PIXELS, pixel_limit
from certvq.errors import OptionError


@pytest.mark.parametrize(
    ("length", "limit"),
    [(0, SMALL_PIXELS), (1 << 20, SMALL_PIXELS), (3 << 20, 48 << 20), (1 << 30, MAX_PIXELS)],
)
def test_long_files_may_have_more(length, limit):
    assert pixel_limit(length) == limit


def test_the_caller_counts_more_than_the_environment(monkeypatch):
    monkeypatch.setenv("CERTVQ_MAX_PIXELS", "500000000")
    assert pixel_limit(0) == 500_000_000
    assert pixel_limit(0, 7) == 7


@pytest.mark.parametrize("text", ["many", "0", "-3", "1e9", "\u0663"])
def test_other_limits_are_refused(monkeypatch, text):
    monkeypatch.setenv("CERTVQ_MAX_PIXELS", text)
    with pytest.raises(OptionError, match="CERTVQ_MAX_PIXELS must be a whole number of at least 1"):
        pixel_limit(0)


def test_a_limit_below_one_is_refused():
    with pytest.raises(
        OptionError, match="max_pixels must be a whole number of at least 1, got '0"
    ):
        pixel_limit(0, 0)
