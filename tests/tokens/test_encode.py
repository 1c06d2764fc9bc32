"""Encoding gives certified codes, audited, with proved radii, each photograph by itself."""

import numpy as np
import pytest
import torch

import certvq
from certvq.data import from_arrays
from certvq.errors import DataError, NonFiniteError
from certvq.models import VQVAE, codebook_digest, model_digest
from certvq.tokens import _encode, decode_tokens, encode_photographs, read_tokens, write_tokens


@pytest.fixture
def encoded(model, photographs):
    return encode_photographs(model, photographs)


def codebook_of(model):
    return model.quantizer.codebook.detach().numpy()


def test_codes_are_the_exact_nearest_ones_to_the_latents(model, encoded):
    for one in encoded.photographs:
        exact = certvq.assign(one.latents, codebook_of(model), backend="reference")
        assert np.array_equal(one.record.codes, exact.codes)
        assert np.allclose(one.sqdist.ravel(), exact.sqdist, rtol=1e-12, atol=0)


def test_codes_are_those_of_the_model(model, photographs, encoded):
    for photograph, one in zip(photographs, encoded.photographs, strict=True):
        image = torch.from_numpy(photograph.pixels / np.float32(255)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            codes = model.encode(image)[0].numpy()
        assert np.array_equal(one.record.codes.reshape(one.record.shape), codes)


def test_every_array_has_the_shape_of_its_photograph(photographs, encoded):
    grids = {"a": (4, 5), "sub/b": (5, 6), "c": (1, 1)}
    assert [p.key for p in photographs] == [one.record.key for one in encoded.photographs]
    for photograph, one in zip(photographs, encoded.photographs, strict=True):
        rows, columns = grids[photograph.key]
        assert one.record.shape == (rows, columns)
        assert one.record.size == (photograph.height, photograph.width)
        assert one.latents.shape == (rows * columns, 4)
        assert one.latents.dtype == np.float32
        assert one.reconstruction.shape == photograph.pixels.shape
        assert one.reconstruction.dtype == np.uint8
        for array in (one.radii, one.sqdist):
            assert array.shape == (rows, columns)
            assert array.dtype == np.float64


def test_views_by_key_are_those_of_the_photographs(encoded):
    for one in encoded.photographs:
        key = one.record.key
        assert encoded.reconstructions[key] is one.reconstruction
        assert encoded.latents[key] is one.latents
        assert encoded.radii[key] is one.radii
    assert encoded.records == tuple(one.record for one in encoded.photographs)
    every = np.concatenate([one.sqdist.ravel() for one in encoded.photographs])
    assert encoded.mean_sqdist == pytest.approx(every.mean())


def test_a_move_within_the_radius_changes_no_code(model, encoded, rng):
    codebook = codebook_of(model)
    for one in encoded.photographs:
        moves = rng.standard_normal((one.record.codes.size, 4))
        moves *= 0.999 * one.radii.reshape(-1, 1) / np.linalg.norm(moves, axis=1, keepdims=True)
        moved = certvq.assign(one.latents.astype(np.float64) + moves, codebook)
        assert np.array_equal(moved.codes, one.record.codes)
    assert max(one.radii.max() for one in encoded.photographs) > 0


def test_the_header_names_model_codebook_and_counts(model, encoded):
    header = encoded.header
    assert header.codebook_size == 16
    assert header.codebook_sha256 == codebook_digest(model.quantizer.codebook)
    assert header.model_sha256 == model_digest(model)
    assert header.certvq_version == certvq.__version__
    assert header.channels == 3
    total = {"filter": 0, "refined": 0, "exact": 0}
    for one in encoded.photographs:
        for way, count in certvq.assign(one.latents, codebook_of(model)).counts().items():
            total[way] += count
    assert header.decided_by == total
    assert sum(total.values()) == 20 + 30 + 1


def test_a_photograph_has_the_same_codes_in_any_company(model, photographs, encoded):
    alone = encode_photographs(model, photographs[1:2])
    assert np.array_equal(alone.records[0].codes, encoded.records[1].codes)
    assert np.array_equal(alone.reconstructions["sub/b"], encoded.reconstructions["sub/b"])


def test_the_audit_covers_every_code(encoded):
    assert encoded.audit.rows == 51
    assert encoded.audit.ok


def test_a_wrong_code_is_found_and_numbered_through(model, photographs, monkeypatch):
    def worst(latents, codebook):
        right = certvq.assign(latents, codebook)
        codes = right.codes.clone()
        codes[-1] = (codes[-1] + 1) % 16
        return certvq.Assignment(codes, right.decided_by, right.sqdist)

    monkeypatch.setattr(_encode, "assign", worst)
    audit = encode_photographs(model, photographs).audit
    assert audit.rows == 51
    assert [violation.row for violation in audit.violations] == [19, 49, 50]


def test_grey_photographs_have_grey_reconstructions(make_model, rng):
    grey = from_arrays({"g": rng.integers(0, 256, (9, 11), dtype=np.uint8)})
    encoded = encode_photographs(make_model(channels=1), grey)
    assert encoded.header.channels == 1
    assert encoded.reconstructions["g"].shape == (9, 11, 1)


def test_a_codebook_that_learns_by_gradient_is_encoded_likewise(make_model, photographs):
    model = make_model(update="gradient")
    encoded = encode_photographs(model, photographs)
    assert encoded.audit.ok
    assert encoded.header.codebook_sha256 == codebook_digest(model.quantizer.codebook)


def test_the_model_is_left_as_it_was(model, photographs):
    before = model_digest(model)
    model.train()
    encode_photographs(model, photographs)
    assert model.training
    assert model_digest(model) == before


def test_what_is_written_comes_back_as_the_token_file(encoded, tmp_path):
    write_tokens(tmp_path / "t", encoded)
    found, expected = read_tokens(tmp_path / "t"), encoded.token_file
    assert found.header == expected.header
    assert [r.codes.tolist() for r in found.records] == [r.codes.tolist() for r in expected.records]


def test_progress_counts_photographs(model, photographs):
    seen = []
    encode_photographs(model, photographs, progress=lambda *step: seen.append(step))
    assert seen == [("encoding", 1, 3), ("encoding", 2, 3), ("encoding", 3, 3)]


def test_unusable_photographs_are_named(model, photographs, rng):
    with pytest.raises(DataError, match="at least one photograph is needed"):
        encode_photographs(model, [])
    tiny = from_arrays({"tiny": np.zeros((3, 9, 3), np.uint8)})
    with pytest.raises(DataError, match="photograph 'tiny' is 3 x 9 pixels, smaller than the str"):
        encode_photographs(model, [*photographs, *tiny])
    grey = from_arrays({"grey": np.zeros((8, 8), np.uint8)})
    with pytest.raises(DataError, match="photograph 'grey' has 1 channels, the network takes 3"):
        encode_photographs(model, grey)


def test_latents_that_are_not_finite_name_the_photograph(model, photographs):
    with torch.no_grad():
        next(model.encoder.parameters()).fill_(torch.inf)
    with pytest.raises(
        NonFiniteError, match=r"photograph 'a': latents must be finite, got .* row 0"
    ):
        encode_photographs(model, photographs)


def test_a_decoder_that_diverged_names_the_photograph_once(model, photographs):
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError) as caught:
        encode_photographs(model, photographs)
    assert str(caught.value).count("photograph 'a'") == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_every_precision_encode_and_come_back(model, photographs, tmp_path, dtype):
    model.to(dtype).save_pretrained(tmp_path / "m")
    read = VQVAE.from_pretrained(tmp_path / "m")
    encoded = encode_photographs(read, photographs)
    assert encoded.audit.ok
    for one in encoded.photographs:
        found = certvq.assign(one.latents, read.quantizer.codebook.detach(), backend="reference")
        assert np.array_equal(one.record.codes, found.codes)
    decoded = decode_tokens(encoded.token_file, read)
    assert all(np.array_equal(decoded[key], one) for key, one in encoded.reconstructions.items())
