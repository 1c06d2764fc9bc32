"""Numbers and verdicts in the words of the page."""

import math
from dataclasses import replace

import pytest

from certvq.report._words import decided_rows, decimals, faults, figures, gain, percent, violations
from certvq.runs._read import read_run


@pytest.fixture
def summary(run_dir):
    return read_run(run_dir).summary


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.0004, "< 0.1 %"),
        (0.001, "0.1 %"),
        (0.5, "50.0 %"),
        (0.999, "99.9 %"),
        (0.9996, "> 99.9 %"),
    ],
)
def test_only_all_is_written_as_100_percent(share, text):
    assert percent(share).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("psnr", "rival", "text"),
    [
        (26.0, 24.5, "+1.50"),
        (24.0, 24.5, "−0.50"),
        (math.inf, 24.5, "+∞"),
        (24.5, math.inf, "−∞"),
        (math.inf, math.inf, "+0.00"),
        (26.0, None, "–"),
    ],
)
def test_gain_has_a_sign(psnr, rival, text):
    assert gain(psnr, rival) == text


def test_infinity_has_its_sign():
    assert decimals(math.inf, 1) == "∞"


def test_sound_run_has_no_faults(summary):
    assert faults(summary) == ()
    assert not any(figure.bad for figure in figures(summary, 3))


def test_each_failed_check_is_a_fault(summary):
    failed = replace(summary, audit_violations=1, roundtrip_bit_exact=False)
    assert [fault.title for fault in faults(failed)] == [
        "The audit found 1 violation.",
        "The round trip is not exact.",
    ]
    bad = [figure.name for figure in figures(failed, 3) if figure.bad]
    assert bad == ["Violations", "Round trip"]


def test_one_photograph_is_singular(summary):
    one = replace(summary, images=summary.images[:1])
    assert "in 1 held-out photograph" in {figure.note for figure in figures(one, 3)}


def test_originals_have_eight_bits_for_each_channel(summary):
    assert "the originals: 8" in {figure.note for figure in figures(summary, 1)}


def test_shares_of_no_codes_are_zero(summary):
    empty = replace(
        summary, codes_total=0, decided_by=dict.fromkeys(("filter", "refined", "exact"), 0)
    )
    assert [row.rows for row in decided_rows(empty)] == [0, 0, 0]


def test_violations_are_counted_in_words():
    assert violations(1234) == "1,234 violations"
