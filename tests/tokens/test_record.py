"""Records and headers are checked when they are made."""

import numpy as np
import pytest

from certvq.errors import CodeRangeError, DataError, DTypeError, OptionError, ShapeError
from certvq.tokens import TokenFile, TokenRecord
from certvq.tokens._record import require_consistent

CODES = np.arange(6)


def test_codes_are_a_read_only_copy():
    codes = CODES.copy()
    record = TokenRecord("a", (2, 3), (8, 12), codes)
    codes[:] = 0
    assert record.codes.tolist() == list(range(6))
    with pytest.raises(ValueError, match="read-only"):
        record.codes[0] = 1


def test_a_bad_key_is_refused():
    with pytest.raises(DataError, match=r"the key '\.\./a' has the part '\.\.'"):
        TokenRecord("../a", (2, 3), (8, 12), CODES)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((0, 6), (8, 12)), ((6, 0), (8, 12)), ((-2, -3), (8, 12)), ((2, 3), (1, 9)), ((2, 3), (9, 2))],
)
def test_a_grid_that_does_not_fit_is_refused_with_both_sizes(shape, size):
    with pytest.raises(ShapeError) as caught:
        TokenRecord("a", shape, size, CODES)
    assert str(caught.value) == (
        f"'a': a grid of {shape[0]} x {shape[1]} tokens does not fit an image of {size[0]} x "
        f"{size[1]} pixels; each must be at least 1 and no larger than the image"
    )


def test_one_token_for_each_pixel_fits():
    assert TokenRecord("a", (2, 3), (2, 3), CODES).codes.size == 6


@pytest.mark.parametrize("codes", [np.arange(5), np.arange(7), np.arange(6).reshape(2, 3)])
def test_there_is_one_code_for_each_cell(codes):
    with pytest.raises(ShapeError) as caught:
        TokenRecord("a", (2, 3), (8, 12), codes)
    assert str(caught.value) == (
        f"'a': codes must have the shape (6,) for 2 x 3 tokens, got {codes.shape}"
    )


def test_codes_are_int64():
    with pytest.raises(DTypeError, match="'a': codes must be int64, got int32; convert them"):
        TokenRecord("a", (2, 3), (8, 12), CODES.astype(np.int32))


def test_the_first_negative_code_is_named():
    for codes, first in (([0, 1, -7, 2, -9, 0], "-7 at position 2"), ([0] * 5 + [-1], "-1 at")):
        with pytest.raises(CodeRangeError, match=f"codes must be at least 0, got {first}"):
            TokenRecord("a", (2, 3), (8, 12), np.array(codes))


@pytest.mark.rows(
    ("name", "value", "required"),
    [
        ("codebook_size", 0, "from 1 to 2**63"),
        ("codebook_size", True, "from 1 to 2**63"),
        ("codebook_size", 8.0, "from 1 to 2**63"),
        ("codebook_sha256", "c0" * 31, "64 digits of 0-9a-f"),
        ("codebook_sha256", "C0" * 32, "64 digits of 0-9a-f"),
        ("model_sha256", None, "64 digits of 0-9a-f"),
        ("tie_rule", "highest", "'lowest'"),
        ("decided_by", {"filter": 20}, "counts of filter, refined, exact"),
        ("decided_by", {"filter": 21, "refined": 0, "exact": -1}, "counts of filter, refined"),
        ("decided_by", [20, 0, 0], "counts of filter, refined, exact"),
        ("certvq_version", 1, "a text"),
        ("channels", 2, "1 or 3"),
        ("channels", True, "1 or 3"),
    ],
)
def test_a_header_names_the_field_that_is_out_of_range(header, name, value, required):
    with pytest.raises(OptionError) as caught:
        header(**{name: value})
    assert str(caught.value).startswith(f"{name} must be {required}")
    assert str(caught.value).endswith(f", got {value!r}")


def test_the_tie_rule_is_the_lowest_index(header):
    assert header().tie_rule == "lowest"


def test_a_token_file_need_not_be_a_file(header, records):
    assert TokenFile(header(), tuple(records)).path is None


class TestRequireConsistent:
    def test_what_belongs_together_passes(self, header, records):
        assert require_consistent(records, header()) is None
        assert require_consistent(records, header(codebook_size=286)) is None

    def test_the_first_code_out_of_range_is_named(self, header, records):
        with pytest.raises(CodeRangeError) as caught:
            require_consistent(records, header(codebook_size=200))
        assert str(caught.value) == (
            "'cats/tom': codes must lie in range(200), got 210 at position 14"
        )
        with pytest.raises(
            CodeRangeError, match=r"'Küche': .* range\(285\), got 285 at position 3"
        ):
            require_consistent(records, header(codebook_size=285))

    def test_a_repeated_key_is_named(self, header, records):
        with pytest.raises(
            DataError, match="two records have the key 'Küche'; keys must be unique"
        ):
            require_consistent([*records, records[1]], header())

    def test_the_counts_add_up(self, header, records):
        counts = {"filter": 17, "refined": 2, "exact": 0}
        with pytest.raises(
            OptionError, match="decided_by counts 19 codes, but the records hold 20"
        ):
            require_consistent(records, header(decided_by=counts))
