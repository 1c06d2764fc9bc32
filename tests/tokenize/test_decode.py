"""Token data sets back to files; also `certvq.tokenize._output`."""

import errno
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import certvq
from certvq.data import read_image
from certvq.errors import DataError, OptionError
from certvq.models import VQVAE
from certvq.tokenize import Codec, decode_set
from certvq.tokenize._output import write_picture, write_sound
from certvq.tokens import open_tokens


@pytest.fixture
def made(model_dir, pictures, tmp_path):
    """Return a token data set of pictures of unlike sizes."""
    certvq.tokenize(model_dir, pictures(5), tmp_path / "out", files_per_part=2)
    return tmp_path / "out"


def test_pictures_are_those_that_the_model_decodes(model_dir, made, tmp_path):
    found = decode_set(model_dir, made, tmp_path / "decoded")
    assert len(found.paths) == 5
    model = VQVAE.from_pretrained(model_dir)
    for record in open_tokens(made).records():
        codes = torch.from_numpy(record.codes.astype(np.int64)).view(1, *record.shape)
        image = model.decode(codes, size=tuple(record.size))[0]
        wanted = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(read_image(tmp_path / f"decoded/{record.key}.png"), wanted)


def test_only_the_keys_asked_for_are_decoded(model_dir, made, tmp_path):
    found = decode_set(model_dir, made, tmp_path / "decoded", keys=["0003", "0001"])
    assert [path.name for path in found.paths] == ["0001.png", "0003.png"]
    with pytest.raises(DataError, match="holds no key 'cat'"):
        decode_set(model_dir, made, tmp_path / "more", keys=["cat"])
    assert not (tmp_path / "more").exists()
    with pytest.raises(OptionError, match="must be a folder that does not exist yet or is empty"):
        decode_set(model_dir, made, tmp_path / "decoded")


def sound_model(decodes=True):
    codebook = torch.linspace(-1, 1, 5)[:, None]

    def encode(x):
        return certvq.assign(x.reshape(-1, 1), codebook).codes.view(len(x), -1)

    return Codec(
        module=torch.nn.Identity(),
        modality="audio",
        codebooks=[codebook],
        encode=encode,
        decode=(lambda codes: codebook[codes[..., 0], 0][:, None]) if decodes else None,
        rate=400,
        stride=8,
    )


def test_sounds_have_the_length_and_the_rate_that_they_had(tmp_path, rng):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/a.wav", rng.choice([-1.0, 0.5], 83), 400, subtype="FLOAT")
    certvq.tokenize(sound_model, tmp_path / "in", tmp_path / "out")
    decode_set(sound_model, tmp_path / "out", tmp_path / "sounds")
    found, rate = soundfile.read(tmp_path / "sounds/a.wav")
    wanted, _ = soundfile.read(tmp_path / "in/a.wav")
    assert rate == 400
    assert np.array_equal(found, wanted)


def test_a_model_without_a_way_back_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8), 400)
    certvq.tokenize(lambda: sound_model(decodes=False), tmp_path / "a.wav", tmp_path / "out")
    with pytest.raises(OptionError, match="has no way back from codes"):
        decode_set(lambda: sound_model(decodes=False), tmp_path / "out", tmp_path / "sounds")


def test_names_that_the_file_system_does_not_take_are_told(tmp_path, monkeypatch):
    pixels = np.zeros((2, 3, 1), np.uint8)
    assert write_picture(tmp_path / "a/b.png", pixels) is None
    assert "too long" in write_picture(tmp_path / ("x" * 300 + ".png"), pixels)
    assert "a folder above" in write_sound(tmp_path / "a/b.png/c.wav", np.zeros((1, 2)), rate=8)

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left"):
        write_picture(tmp_path / "c.png", pixels)
