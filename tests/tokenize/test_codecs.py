"""Models of certvq, transformers and diffusers, and one's own, opened without network.

The tokens are compared with those of the patched model, called by hand; `certvq.tokenize._codecs`.

Also of `certvq.tokenize._codecs._codec`, `certvq.tokenize._codecs._diffusers`,
`certvq.tokenize._codecs._images`, `certvq.tokenize._codecs._open`,
`certvq.tokenize._codecs._own` and `certvq.tokenize._codecs._transformers`.
"""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import certvq
from certvq.errors import (
    BackendUnavailableError,
    CertificateError,
    FileFormatError,
    OptionError,
)
from certvq.models import VQVAE, VQVAEConfig
from certvq.nn import FSQ, ResidualVQ, VectorQuantize
from certvq.tokenize import Codec, TokenEncoder, open_codec

SOUNDS = ("encodec", "dac", "mimi", "xcodec", "higgs_audio_v2_tokenizer")
IMAGES = ("VQModel", "chameleon_vqgan", "janus_vqgan", "emu3_vqgan")
CLASSES = {
    "encodec": "EncodecModel",
    "dac": "DacModel",
    "mimi": "MimiModel",
    "xcodec": "XcodecModel",
    "higgs_audio_v2_tokenizer": "HiggsAudioV2TokenizerModel",
    "VQModel": "VQModel",
    "chameleon_vqgan": "ChameleonVQVAE",
    "janus_vqgan": "JanusVQVAE",
    "emu3_vqgan": "Emu3VQVAE",
}


@pytest.fixture(scope="module", autouse=True)
def higgs_audio():
    """Let Higgs Audio be made without torchaudio, which it calls for sounds of 24 kHz alone."""
    family = "higgs_audio_v2_tokenizer"
    import_module("transformers")  # before the stand-in, which it would examine
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
        module = import_module(f"transformers.models.{family}.modeling_{family}")
        library = import_module("transformers")  # which is another object by now
        patch.setattr(library, CLASSES[family], getattr(module, CLASSES[family]))
        yield


@pytest.fixture(scope="module")
def folder_of(hf_models, tmp_path_factory):
    """Return a function that saves a model with random weights and gives its folder."""
    made = {}

    def save(kind):
        if kind not in made:
            torch.manual_seed(11)
            made[kind] = tmp_path_factory.mktemp("models") / kind
            make = hf_models.vq_model if kind == "VQModel" else getattr(hf_models, kind)
            make().save_pretrained(made[kind])
        return made[kind]

    return save


def opened(folder, kind):
    """Load a model by its class, and patch it."""
    import diffusers
    import transformers

    library = diffusers if kind == "VQModel" else transformers
    model = getattr(library, CLASSES[kind]).from_pretrained(str(folder)).eval()
    certvq.patch_module(model)
    return model


def by_hand(kind, folder, inputs):
    """Give the codes of the patched model, whose arguments are written out here."""
    model = opened(folder, kind)
    with torch.no_grad():
        if kind == "VQModel":
            latents = model.encode(inputs * 2 - 1).latents
            return model.quantize(latents)[2][2].view(1, *latents.shape[2:], 1)
        if kind == "emu3_vqgan":
            return model.encode(inputs * 2 - 1, torch.tensor([[16, 12]])).image_tokens[0]
        if kind in IMAGES:
            white = 0.989 if kind == "chameleon_vqgan" else 1.0
            return model.encode(inputs * (white + 1) - 1).image_tokens.view(1, 8, 6, 1)
        codes = model.encode(inputs).audio_codes
        return (codes[0] if kind == "encodec" else codes).transpose(1, 2)


@pytest.mark.parametrize("kind", SOUNDS)
def test_tokens_of_sounds_are_those_of_the_patched_model(folder_of, rng, kind):
    folder = folder_of(kind)
    encoder = TokenEncoder(str(folder))
    samples = rng.uniform(-0.5, 0.5, (1, 1600)).astype(np.float32)
    found = encoder({"key": ["a"], "data": [samples]})
    assert found["reason"] == [None]
    wanted = by_hand(kind, folder, torch.from_numpy(samples)[None])
    books = len(encoder.codec.codebooks)
    assert books == wanted.shape[-1]
    assert found["codes"][0].tolist() == wanted.flatten().tolist()
    assert found["shape"][0] == (wanted.shape[1], books)[: 1 + (books > 1)]
    assert found["size"][0] == (1600, encoder.codec.rate)
    assert sum(found["decided_by"][0]) == found["codes"][0].size
    sizes = [len(book) for book in encoder.codec.codebooks]
    assert sizes == [64] * books


@pytest.mark.parametrize("kind", IMAGES)
def test_tokens_of_images_are_those_of_the_patched_model(folder_of, rng, kind):
    folder = folder_of(kind)
    pixels = rng.integers(0, 256, (16, 12, 3), dtype=np.uint8)
    found = TokenEncoder(str(folder))({"key": ["a"], "data": [pixels]})
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    wanted = by_hand(kind, folder, images)
    assert found["codes"][0].tolist() == wanted.flatten().tolist()
    assert (found["shape"], found["size"]) == ([(8, 6)], [(16, 12)])


def test_tokens_of_our_own_model_are_those_of_its_forward(model_dir, rng):
    pixels = rng.integers(0, 256, (18, 12, 3), dtype=np.uint8)
    found = TokenEncoder(str(model_dir))({"key": ["a"], "data": [pixels]})
    model = VQVAE.from_pretrained(model_dir)
    wanted = model.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    assert found["shape"] == [(5, 3)]
    assert found["codes"][0].tolist() == wanted.flatten().tolist()


@pytest.fixture(params=["residual", "fsq"])
def other_dir(request, tmp_path):
    """Return the folder of a model with several codebooks, or with a grid."""
    config = VQVAEConfig(hidden=8, residual_hidden=4, dim=4, codebook_size=16)
    generator = torch.Generator().manual_seed(0)
    model = VQVAE(replace(config, quantizer=request.param), generator=generator)
    model(torch.rand(4, 3, 32, 32, generator=generator))
    model.save_pretrained(tmp_path / "other")
    return tmp_path / "other"


def test_tokens_of_levels_and_grids_are_those_of_the_model_s_forward(other_dir, rng):
    model = VQVAE.from_pretrained(other_dir)
    pixels = rng.integers(0, 256, (18, 12, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    encoder = TokenEncoder(str(other_dir))
    found = encoder({"key": ["a"], "data": [pixels]})
    wanted = model.encode(images)
    assert found["codes"][0].tolist() == wanted.flatten().tolist()
    assert found["shape"] == [tuple(wanted.shape[1:])]
    assert sum(found["decided_by"][0]) == wanted.numel()
    books = len(encoder.codec.codebooks)
    with torch.no_grad():
        image = encoder.codec.decode(wanted.view(1, 5, 3, books))
    assert torch.equal(image, model.decode(wanted))
    latents = model.latents(images).detach().numpy()
    again = TokenEncoder(str(other_dir), latents=True)({"key": ["a"], "data": [latents[0]]})
    assert again["codes"][0].tolist() == found["codes"][0].tolist()


def test_the_first_codebooks_of_our_own_model_may_be_used(other_dir, rng):
    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    books = len(open_codec(other_dir).codebooks)
    codes = TokenEncoder(str(other_dir))({"key": ["a"], "data": [pixels]})["codes"][0]
    first = TokenEncoder(str(other_dir), quantizers=1)
    found = first({"key": ["a"], "data": [pixels]})["codes"][0]
    assert found.tolist() == codes.reshape(-1, books)[:, 0].tolist()
    with torch.no_grad():
        image = first.codec.decode(torch.from_numpy(found).view(1, 2, 2, 1))
    assert image.shape == (1, 3, 8, 8)
    with pytest.raises(OptionError, match=f"quantizers must be .*{books} for this model, got 5"):
        open_codec(other_dir, quantizers=5)


def test_tokens_of_latents_are_those_of_the_codebook(model_dir, tmp_path, rng):
    latents = rng.standard_normal((9, 8)).astype(np.float32)
    codebook = VQVAE.from_pretrained(model_dir).quantizer.codebook.numpy()
    np.save(tmp_path / "codebook.npy", codebook)
    wanted = certvq.assign(latents, codebook).codes.tolist()
    for model in (model_dir, tmp_path / "codebook.npy"):
        found = TokenEncoder(model, latents=True)({"key": ["a"], "data": [latents]})
        assert found["codes"][0].tolist() == wanted
        assert (found["shape"], found["size"]) == ([(9,)], [()])


def decoded_by_hand(kind, folder, codes):
    """Give what the model itself makes of codes (1, 20, codebooks) or (1, 8, 8, 1)."""
    model = opened(folder, kind)
    flat = codes.reshape(1, -1)
    with torch.no_grad():
        if kind == "VQModel":
            vectors = model.quantize.embedding(codes[..., 0]).permute(0, 3, 1, 2).contiguous()
            return model.decode(vectors, force_not_quantize=True).sample
        if kind in IMAGES:
            return model.decode(flat if kind == "janus_vqgan" else codes[..., 0])
        levels = codes.transpose(1, 2)
        if kind == "encodec":
            return model.decode(levels[None], [None]).audio_values
        if kind == "dac":
            return model.decode(audio_codes=levels).audio_values[:, None]
        return model.decode(levels).audio_values


@pytest.mark.parametrize("kind", [*SOUNDS, *IMAGES])
def test_the_way_back_is_the_model_s_own(folder_of, rng, kind):
    codec = open_codec(folder_of(kind))
    grid = (1, 8, 8) if kind in IMAGES else (1, 20)
    codes = torch.from_numpy(rng.integers(0, 64, (*grid, len(codec.codebooks))))
    if kind == "chameleon_vqgan":
        assert (codec.decode, codec.pixels[0]) == (None, -1.0)
        assert codec.pixels[1] == pytest.approx(0.989)
        return
    with torch.no_grad():
        found = codec.decode(codes)
    assert found.shape[:2] == ((1, 3) if kind in IMAGES else (1, 1))
    wanted = decoded_by_hand(kind, folder_of(kind), codes)
    assert torch.equal(found, wanted)


def test_a_number_of_quantizers_chooses_the_bandwidth(folder_of):
    assert open_codec(folder_of("encodec")).options == {"bandwidth": 9.0}
    two = open_codec(folder_of("encodec"), quantizers=2)
    assert (len(two.codebooks), two.options) == (2, {"bandwidth": 18.0})
    assert len(open_codec(folder_of("dac"), quantizers=2).codebooks) == 2
    with pytest.raises(OptionError, match="quantizers must be one of 1, 2 for this model, got 3"):
        open_codec(folder_of("encodec"), quantizers=3)
    with pytest.raises(OptionError, match="quantizers must be from 1 to 3 for this model, got 4"):
        open_codec(folder_of("mimi"), quantizers=4)


@pytest.fixture
def entries(monkeypatch):
    """Make the models beside this file importable, as from the working directory."""
    monkeypatch.chdir(Path(__file__).parent)
    monkeypatch.delitem(sys.modules, "models", raising=False)


def test_a_model_of_one_s_own_is_named_by_its_entry(entries, rng):
    pixels = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    encoder = TokenEncoder("models:codec")
    found = encoder({"key": ["a"], "data": [pixels]})
    assert found["shape"] == [(3, 2)]
    image = encoder.codec.of_pixels(pixels)[None]
    assert image.shape == (1, 3, 12, 8)
    with torch.no_grad():
        assert found["codes"][0].tolist() == encoder.codec.encode(image).flatten().tolist()


@pytest.mark.parametrize(
    ("quantizer", "books"),
    [
        (lambda: VectorQuantize(4, 16, layout="b c h w"), lambda q: [q.codebook]),
        (
            lambda: ResidualVQ(4, 16, num_quantizers=2, layout="b c h w"),
            lambda q: [part.codebook for part in q.parts],
        ),
        (lambda: FSQ((5, 5, 4, 3), layout="b c h w"), lambda q: [torch.tensor(q.levels)]),
    ],
    ids=["vq", "residual", "fsq"],
)
@pytest.mark.parametrize("by_forward", [False, True])
def test_layers_of_certvq_may_be_used_in_a_model_of_one_s_own(rng, quantizer, books, by_forward):
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4, stride=4), quantizer())

    def encode(images):
        latents = layers[0](images)
        return layers[1](latents).codes if by_forward else layers[1].encode(latents)

    own = Codec(
        module=layers, modality="image", codebooks=books(layers[1]), encode=encode, channels=3
    )
    pixels = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    found = TokenEncoder(lambda: own)({"key": ["a"], "data": [pixels]})
    with torch.no_grad():
        wanted = encode(own.of_pixels(pixels)[None])
    assert found["codes"][0].tolist() == wanted.flatten().tolist()
    assert sum(found["decided_by"][0]) == wanted.numel()


def test_codes_that_no_search_found_are_refused(entries, rng):
    pixels = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    with pytest.raises(CertificateError, match="returned 6 codes, .* found 6 others"):
        TokenEncoder("models:untrue")({"key": ["a"], "data": [pixels]})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("models:missing", "models:missing: cannot be imported"),
        ("nowhere:codec", "nowhere:codec: cannot be imported"),
        ("models:no_model", "must return a torch module or a certvq.tokenize.Codec, got int"),
        ("facebook/encodec_24khz", "no such folder, and a model is never fetched from the network"),
        ("conftest.py", "conftest.py: is a file; give the folder of a model"),
    ],
)
def test_what_is_no_model_is_named(entries, source, text):
    with pytest.raises(OptionError, match=text):
        open_codec(source)


def test_a_kind_that_is_not_known_is_named_with_those_that_are(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(OptionError, match="of the kind 'bert', known are certvq, encodec, dac, "):
        open_codec(tmp_path)


def test_a_folder_without_weights_asks_no_network(folder_of, tmp_path):
    (tmp_path / "config.json").write_bytes((folder_of("dac") / "config.json").read_bytes())
    with pytest.raises(FileFormatError, match="cannot be loaded without network"):
        open_codec(tmp_path)
    with pytest.raises(FileFormatError, match="a model is a folder with config.json"):
        open_codec(tmp_path.parent)


def test_a_library_that_a_model_wants_is_named(folder_of, monkeypatch):
    import transformers

    def from_pretrained(*args, **options):
        del args, options
        raise ImportError("\nXcodecModel requires the torchaudio library but it was not found")

    folder = folder_of("xcodec")
    monkeypatch.setattr(transformers.XcodecModel, "from_pretrained", from_pretrained)
    text = "xcodec: XcodecModel requires the torchaudio library"
    with pytest.raises(BackendUnavailableError, match=text):
        open_codec(folder)


def test_a_model_of_sounds_takes_no_latents(folder_of):
    with pytest.raises(OptionError, match="takes audios, and the sources hold latents"):
        open_codec(folder_of("dac"), latents=True)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"modality": "smell"}, "modality must be"),
        ({"codebooks": []}, "codebooks must hold one"),
        ({"modality": "audio"}, "rate must be the samples per second"),
    ],
)
def test_a_codec_is_checked(options, text):
    fields = {"modality": "image", "codebooks": [torch.zeros(2, 1)], **options}
    with pytest.raises(OptionError, match=text):
        Codec(module=torch.nn.Identity(), encode=lambda x: x, **fields)
