"""Figures of a data set are those of its codes, counted over all parts."""

import numpy as np
import pytest

from certvq.errors import DataError
from certvq.tokens import (
    DatasetWriter,
    encode_photographs,
    token_stats,
    write_histogram,
    write_tokens,
)


def test_figures_are_those_of_the_codes(tokens_dir, expected):
    found = token_stats(tokens_dir)
    codes = np.concatenate([row[3] for row in expected()])
    figures = found.to_json()
    for number, size in enumerate((300, 7)):
        counts = np.bincount(codes[:, number], minlength=size)
        shares = counts[counts > 0] / counts.sum()
        entropy = -(shares * np.log2(shares)).sum()
        assert found.codebooks[number].counts.tolist() == sorted(counts[counts > 0])[::-1]
        assert figures["codebooks"][number] == pytest.approx(
            {
                "size": size,
                "used": int((counts > 0).sum()),
                "usage": (counts > 0).mean(),
                "perplexity": 2**entropy,
                "entropy_bits": entropy,
            }
        )
    seconds = sum(row[2][0] for row in expected()) / 24000
    bits = np.log2(300) + np.log2(7)
    assert figures["tokens"] == len(codes)
    assert figures["codes"] == codes.size
    assert figures["bits_per_token"] == pytest.approx(bits)
    assert figures["bits_per_second"] == pytest.approx(len(codes) * bits / seconds)
    assert figures["failed"] == 3
    assert figures["parts"] == 3
    assert figures["missing_parts"] == 0


def test_many_codes_are_counted_without_a_counter_for_each(make_set, monkeypatch):
    dense = token_stats(make_set())
    monkeypatch.setattr("certvq.tokens._stats._DENSE", 4)
    sparse = token_stats(make_set())
    for one, other in zip(dense.codebooks, sparse.codebooks, strict=True):
        assert one.counts.tolist() == other.counts.tolist()
        assert one.to_json() == other.to_json()


def test_a_codebook_of_forty_bits_beside_a_small_one(make_set):
    found = token_stats(make_set(sizes=(1 << 40, 7)))
    assert found.codebooks[0].usage < 1e-9
    assert found.codebooks[1].usage == 1


def test_rates_of_pictures_are_per_pixel(tmp_path, model, photographs):
    write_tokens(tmp_path / "t", encode_photographs(model, photographs))
    figures = token_stats(tmp_path / "t").to_json()
    pixels = sum(photograph.height * photograph.width for photograph in photographs)
    assert figures["bits_per_pixel"] == pytest.approx(figures["tokens"] * 4 / pixels)


def test_one_code_alone_has_no_entropy(tmp_path, make_job):
    row = {"key": ["a"], "shape": [(4,)], "size": [()], "codes": [[3] * 4]}
    with DatasetWriter(tmp_path, make_job((8,), modality="latent")) as writer:
        writer.write(0, [row | {"decided_by": [(4, 0, 0)]}])
    figures = token_stats(tmp_path).to_json()
    assert figures["entropy_bits_per_token"] == 0
    assert figures["codebooks"][0]["perplexity"] == 1
    assert figures["bits_per_token"] == 3


def test_a_set_without_rows_is_refused(tmp_path, make_job):
    with DatasetWriter(tmp_path, make_job()):
        pass
    with pytest.raises(DataError, match="holds no row, so that there is nothing to count"):
        token_stats(tmp_path)


def test_the_picture_opens_offline_and_names_every_codebook(tokens_dir, tmp_path):
    write_histogram(token_stats(tokens_dir), tmp_path / "h.html")
    page = (tmp_path / "h.html").read_text()
    assert "codebook 0: " in page
    assert "codebook 1: 7 of 7 codes used" in page
    assert 'src="http' not in page
