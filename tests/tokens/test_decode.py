"""Decoding gives, from the token file alone, the very bytes that encoding reported."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from certvq.errors import DigestMismatchError, FileFormatError
from certvq.models import VQVAE, codebook_digest, model_digest
from certvq.tokens import (
    TokenFile,
    TokenRecord,
    decode_tokens,
    encode_photographs,
    read_tokens,
    write_tokens,
)


@pytest.fixture
def encoded(model, photographs):
    return encode_photographs(model, photographs)


@pytest.fixture
def path(encoded, tmp_path):
    write_tokens(tmp_path / "tokens.parquet", encoded)
    return tmp_path / "tokens.parquet"


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_the_round_trip_through_files_is_bit_exact(model, encoded, path, tmp_path):
    model.save_pretrained(tmp_path / "model")
    decoded = decode_tokens(read_tokens(path), VQVAE.from_pretrained(tmp_path / "model"))
    assert equal(decoded, encoded.reconstructions)


def test_a_model_in_train_mode_decodes_the_same(model, encoded, path):
    model.train()
    assert equal(decode_tokens(read_tokens(path), model), encoded.reconstructions)
    assert model.training


def test_other_codes_decode_to_another_picture(model, encoded):
    """So that equality above means something."""
    first = encoded.records[0]
    other = replace(first, codes=(first.codes + 1) % 16)
    decoded = decode_tokens(TokenFile(encoded.header, (other,)), model)
    assert not np.array_equal(decoded["a"], encoded.reconstructions["a"])


def test_pictures_come_in_the_order_of_the_file_and_are_counted(model, path):
    seen = []
    decoded = decode_tokens(read_tokens(path), model, progress=lambda *step: seen.append(step))
    assert list(decoded) == ["a", "sub/b", "c"]
    assert seen == [("decoding", 1, 3), ("decoding", 2, 3), ("decoding", 3, 3)]


def test_another_codebook_is_named_with_both_digests(model, path):
    wanted = codebook_digest(model.quantizer.codebook)
    with torch.no_grad():
        model.quantizer.codebook[0, 0] += 1
    found = codebook_digest(model.quantizer.codebook)
    with pytest.raises(DigestMismatchError) as caught:
        decode_tokens(read_tokens(path), model)
    assert str(caught.value) == (
        f"{path}: the tokens are made with the codebook {wanted[:12]}, but the model given has the "
        f"codebook {found[:12]}; decode with the model that encoded"
    )


def test_another_model_with_the_same_codebook_is_named(model, encoded):
    wanted = model_digest(model)
    with torch.no_grad():
        next(model.decoder.parameters()).add_(1)
    with pytest.raises(DigestMismatchError) as caught:
        decode_tokens(encoded.token_file, model)
    assert str(caught.value) == (
        f"the tokens are made with the model {wanted[:12]}, but the model given has the model "
        f"{model_digest(model)[:12]}; decode with the model that encoded"
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"codebook_size": 17}, "17 codes and 3 channels"),
        ({"channels": 1}, "16 codes and 1 channels"),
    ],
)
def test_a_header_that_contradicts_the_model_is_refused(model, encoded, fields, said):
    lying = TokenFile(replace(encoded.header, **fields), encoded.records)
    with pytest.raises(FileFormatError) as caught:
        decode_tokens(lying, model)
    assert not isinstance(caught.value, DigestMismatchError)
    assert str(caught.value) == (
        f"the tokens are said to have {said}, but the model has 16 and 3; "
        "encode the photographs again"
    )


@pytest.mark.parametrize(("shape", "size"), [((4, 5), (16, 21)), ((2, 2), (3, 8))])
def test_a_grid_that_is_not_the_model_s_is_refused(model, encoded, shape, size):
    record = TokenRecord("odd", shape, size, np.zeros(shape[0] * shape[1], np.int64))
    with pytest.raises(FileFormatError) as caught:
        decode_tokens(TokenFile(encoded.header, (*encoded.records, record)), model)
    assert str(caught.value) == (
        f"the tokens are said to have {shape[0]} x {shape[1]} tokens for the {size[0]} x {size[1]} "
        "pixels of 'odd', which does not fit the model's stride of 4; encode the photographs again"
    )
