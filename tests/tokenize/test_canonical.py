"""Token data sets of canonical codes: what they hold, what they say, and what has none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import certvq
from certvq.data import read_image
from certvq.errors import CaptureError, DigestMismatchError, OptionError
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import CanonicalCodes, CanonicalEncoder, Rung
from certvq.tokenize import Codec, LocalEngine, TokenEncoder, audit_set
from certvq.tokens import DatasetWriter, open_tokens, token_stats, verify_tokens

ALONE = LocalEngine(1)


@pytest.fixture
def made(model_dir, pictures, tmp_path):
    """Return a source and its token data set of canonical codes."""
    source, out = pictures(4, broken=[2]), tmp_path / "out"
    certvq.tokenize(model_dir, source, out, canonical=True, engine=ALONE)
    return source, out


def test_a_set_holds_the_canonical_codes_and_says_so(model_dir, made):
    source, out = made
    model, data = VQVAE.from_pretrained(model_dir), open_tokens(out)
    records = list(data.records())
    for record in records:
        pixels = torch.tensor(read_image(source / f"{record.key}.png")).permute(2, 0, 1)
        assert (
            record.codes.tolist()
            == certvq.canonical_codes(model, pixels[None]).codes.flatten().tolist()
        )
    assert [record.key for record in records] == ["0000", "0001", "0003"]
    assert data.decided_by == {"float64": data.tokens, "wider": 0, "exact": 0}
    assert data.job.arguments["canonical"] == {"precision": 2048}
    assert data.job.preprocessing["dtype"] == "exact"
    for path in (out, out / "parts/part-00000.parquet"):
        stats = token_stats(path).to_json()
        assert (stats["canonical"], stats["decided_by"]["float64"]) == (True, data.tokens)
        assert verify_tokens(path).ok


def test_group_and_threads_change_no_byte(model_dir, made, tmp_path, content):
    source, out = made
    options = {"canonical": True, "group": 3, "threads": 2, "batch_size": 1}
    certvq.tokenize(model_dir, source, tmp_path / "again", engine=ALONE, **options)
    assert content(tmp_path / "again") == content(out)


def with_torch_of(versions, out, again, batch=None):
    """Write a set anew as if by another version of torch, with other rows if they are given."""
    job = open_tokens(out).job.with_versions(open_tokens(out).job.versions | versions)
    with DatasetWriter(again, job) as writer:
        writer.write(0, [batch])


def rows_of(encoder, source):
    names = ["0000", "0001", "0003"]
    return encoder({"key": names, "data": [str(source / f"{name}.png") for name in names]})


def test_an_audit_makes_them_again_whatever_the_versions(model_dir, made, tmp_path):
    source, _ = made
    (source / "0002.png").unlink()
    certvq.tokenize(model_dir, source, tmp_path / "whole", canonical=True, engine=ALONE)
    found = rows_of(TokenEncoder(str(model_dir), canonical=True), source)
    other = {"torch": "0.0"}
    with_torch_of(other, tmp_path / "whole", tmp_path / "other", found)
    assert audit_set(model_dir, tmp_path / "other", [source]).ok
    found["codes"][1][3] = (found["codes"][1][3] + 1) % 64
    with_torch_of(other, tmp_path / "whole", tmp_path / "forged", found)
    report = audit_set(model_dir, tmp_path / "forged", [source])
    assert [(each.key, each.codes, each.first) for each in report.differing] == [("0001", 1, 3)]
    plain = rows_of(TokenEncoder(str(model_dir)), source)
    certvq.tokenize(model_dir, source, tmp_path / "plain")
    with_torch_of(other, tmp_path / "plain", tmp_path / "old", plain)
    with pytest.raises(DigestMismatchError, match=r"versions.torch is '0.0' there"):
        audit_set(model_dir, tmp_path / "old", [source])


def test_counts_of_the_other_kind_are_refused(model_dir, made, tmp_path):
    """That a set is canonical is said twice; a manifest that contradicts itself is damaged."""
    source, _ = made
    certvq.tokenize(model_dir, source, tmp_path / "plain")
    manifest = tmp_path / "plain/manifest.json"
    content = json.loads(manifest.read_text())
    content["parts"][0]["decided_by"] = {"float64": content["parts"][0]["tokens"]}
    content["parts"][0]["decided_by"] |= {"wider": 0, "exact": 0}
    from certvq._files.json import SEAL, sealed

    content.pop(SEAL)
    manifest.write_text(json.dumps(sealed(content)))
    with pytest.raises(certvq.errors.FileFormatError, match="the counts of a part"):
        open_tokens(tmp_path / "plain")


def test_a_residual_quantizer_gives_levels_of_which_the_first_may_be_used(tmp_path, rng):
    config = VQVAEConfig(hidden=8, residual_hidden=4, dim=4, codebook_size=16)
    generator = torch.Generator().manual_seed(0)
    model = VQVAE(replace(config, quantizer="residual"), generator=generator)
    model(torch.rand(4, 3, 32, 32, generator=generator))
    model.eval().save_pretrained(tmp_path / "model")
    pixels = rng.integers(0, 256, (12, 8, 3), dtype=np.uint8)
    wanted = certvq.canonical_codes(model, torch.from_numpy(pixels).permute(2, 0, 1)[None]).codes
    for quantizers in (None, 1):
        encoder = TokenEncoder(str(tmp_path / "model"), canonical=True, quantizers=quantizers)
        found = encoder({"key": ["a"], "data": [pixels]})["codes"][0]
        assert found.tolist() == wanted[..., :quantizers].flatten().tolist()


class Shifted(nn.Module):
    """``x + 1/2``, in a way that balls cannot tell to be exact."""

    def forward(self, x):
        return x - 0.5 + torch.sigmoid(x) + torch.sigmoid(-x)


def sound_codec(network):
    """Return a codec of sounds whose code vectors are 0 and 2."""
    codebook = torch.tensor([[0.0], [2.0]])
    return Codec(
        module=nn.Conv1d(1, 1, 1),
        modality="audio",
        codebooks=[codebook],
        encode=lambda sounds: sounds,
        rate=8,
        canonical=lambda: CanonicalEncoder(network.eval(), codebook=codebook),
    )


def test_an_input_with_an_open_token_has_no_codes_but_a_reason():
    """At 1/2 the latent is 1, as far from 0 as from 2."""
    sounds = [np.array([1.0, 0.5, -0.5, 0.5]), np.array([0.75, -0.25])]
    encoder = TokenEncoder(lambda: sound_codec(Shifted()), canonical=True)
    found = encoder({"key": ["tie", "clear"], "data": sounds})
    assert found["reason"][0].startswith("2 of 4 tokens are open, the first at (1): ")
    assert (found["codes"][0], found["reason"][1]) == (None, None)
    assert found["codes"][1].tolist() == [1, 0]
    assert found["decided_by"][1] == (2, 0, 0)


def test_an_exact_tie_counts_as_exact():
    encoder = TokenEncoder(lambda: sound_codec(nn.ReLU()), canonical=True)
    found = encoder({"key": ["tie"], "data": [np.array([1.0, 1.5])]})
    assert (found["codes"][0].tolist(), found["decided_by"][0]) == ([0, 1], (1, 0, 1))


@pytest.mark.rows(("books", "codes"), [(1, [1, 3]), (2, [1, 2, 3, 4])])
def test_the_first_levels_of_several_are_used(books, codes):
    """An open token of a level that is not asked for is no hindrance."""
    levels = torch.tensor([[[1, 2, -1], [3, 4, 5]]])
    rungs = torch.where(levels < 0, Rung.OPEN, Rung.FLOAT64).to(torch.uint8)
    result = CanonicalCodes(levels, rungs, levels.double(), levels < 0)
    codec = replace(sound_codec(nn.ReLU()), codebooks=[torch.zeros(9, 1)] * books)
    codec = replace(codec, canonical=lambda: lambda batch: result)
    found = TokenEncoder(lambda: codec, canonical=True)({"key": ["a"], "data": [np.zeros(2)]})
    assert found["codes"][0].tolist() == codes
    assert found["shape"][0] == ((2,) if books == 1 else (2, books))


class Unknown(nn.Module):
    def forward(self, x):
        return x.cumsum(2)


def test_an_operator_without_a_rule_ends_the_job():
    encoder = TokenEncoder(lambda: sound_codec(Unknown()), canonical=True)
    with pytest.raises(CaptureError, match=r"cumsum.default at the model itself has no rule"):
        encoder({"key": ["a"], "data": [np.zeros(2)]})


def test_what_the_model_itself_refuses_is_only_that_input(model_dir, rng):
    images = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (3, 8)]
    found = TokenEncoder(str(model_dir), canonical=True)({"key": ["a", "b"], "data": images})
    assert "images must be at least 4 x 4 pixels" in found["reason"][0]
    assert found["reason"][1] is None


def test_codecs_without_a_way_are_refused(tmp_path):
    np.save(tmp_path / "codebook.npy", np.eye(2))
    encoder = TokenEncoder(str(tmp_path / "codebook.npy"), latents=True, canonical=True)
    with pytest.raises(OptionError, match="codebook: a codec of this kind .latent. has no canon"):
        encoder({"key": [], "data": []})
    config = VQVAEConfig(hidden=8, residual_hidden=4, quantizer="fsq", levels=(3, 3))
    encoder = TokenEncoder(lambda: VQVAE(config), canonical=True)
    with pytest.raises(OptionError, match="fsq"):
        encoder({"key": [], "data": []})


def test_a_model_of_another_library_reads_pixels_from_minus_1_to_1(hf_models, rng):
    """An odd image is padded by its last row and column, as without canonical codes."""
    pytest.importorskip("diffusers")
    torch.manual_seed(11)
    model = hf_models.vq_model()
    batch = {"key": ["a"], "data": [rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)]}
    found = TokenEncoder(lambda: model, canonical=True)(batch)
    assert sum(found["decided_by"][0]) == 4
    plain = TokenEncoder(model.double)(batch)
    assert found["codes"][0].tolist() == plain["codes"][0].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dac", "encodec", "mimi"])
@torch.no_grad()
def test_codecs_of_sounds_have_canonical_codes(hf_models, rng, tmp_path, kind):
    """The first two levels, of a sound whose length no stride divides."""
    torch.manual_seed(11)
    model = getattr(hf_models, kind)().eval()
    model.save_pretrained(tmp_path / kind)
    sound = rng.normal(size=(1, 331)).astype(np.float32)
    encoder = TokenEncoder(str(tmp_path / kind), canonical=True, quantizers=2)
    found = encoder({"key": ["a"], "data": [sound]})
    assert found["reason"] == [None]
    padded = nn.functional.pad(torch.from_numpy(sound), (0, 5 if kind == "dac" else 0))
    whole = certvq.canonical_codes(model, padded[None]).codes[0, :, :2]
    assert found["codes"][0].tolist() == whole.flatten().tolist()
    assert found["shape"][0] == tuple(whole.shape)
    assert sum(found["decided_by"][0]) == whole.numel()
