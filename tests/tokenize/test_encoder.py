"""A batch of inputs to columns.

Also of `certvq.assign._watch`.
"""

import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image

from certvq.errors import OptionError
from certvq.tokenize import Codec, Reading, TokenEncoder


@pytest.fixture
def images(rng):
    return [rng.integers(0, 256, (16, 12 + 4 * (i % 2), 3), dtype=np.uint8) for i in range(6)]


def batch(data):
    return {"key": [f"k{i}" for i in range(len(data))], "data": data}


def same(one, other):
    return pickle.dumps(one) == pickle.dumps(other)


def test_a_pickled_encoder_makes_the_same_columns(model_dir, images):
    encoder = TokenEncoder(str(model_dir))
    wanted = encoder(batch(images))
    packed = pickle.dumps(encoder)
    assert len(packed) < 1000  # the model is not in it
    assert same(pickle.loads(packed)(batch(images)), wanted)  # noqa: S301 (made above)


def test_paths_bytes_and_pixels_make_the_same_columns(model_dir, tmp_path, images):
    path = tmp_path / "a.png"
    Image.fromarray(images[0]).save(path)
    encoder = TokenEncoder(str(model_dir))
    found = encoder(batch([images[0], str(path), path.read_bytes()]))
    assert len({codes.tobytes() for codes in found["codes"]}) == 1


def test_what_cannot_be_used_does_not_disturb_others(model_dir, images):
    grey, small = images[0][:, :, :1], images[0][:3, :3]
    encoder = TokenEncoder(str(model_dir))
    found = encoder(batch([images[0], b"no image", grey, small, images[1]]))
    alone = encoder(batch([images[0], images[1]]))
    assert [reason is None for reason in found["reason"]] == [True, False, False, False, True]
    assert "not a readable image" in found["reason"][1]
    assert "has 1 channels, the model takes 3; channels=3 (--channels 3)" in found["reason"][2]
    assert found["codes"][1:4] == found["decided_by"][1:4] == [None] * 3
    assert found["codes"][4].tolist() == alone["codes"][1].tolist()


def test_inputs_of_one_shape_go_through_together(images):
    seen = []
    codebook = torch.tensor([[0.0], [0.5], [1.0]])

    def model():
        import certvq

        def encode(x):
            seen.append(tuple(x.shape))
            return certvq.assign(x[:, 0].reshape(-1, 1), codebook).codes.view(len(x), *x.shape[2:])

        return Codec(
            module=torch.nn.Identity(), modality="image", codebooks=[codebook], encode=encode
        )

    found = TokenEncoder(model, group=4)(batch(images))
    assert seen == [(2, 3, 16, 12), (2, 3, 16, 16), (1, 3, 16, 12), (1, 3, 16, 16)]
    assert same(found, TokenEncoder(model)(batch(images)))


def test_an_input_with_nan_is_named_and_its_group_is_not_lost():
    codebook = torch.tensor([[0.0, 0.0], [1.0, 1.0]])

    def model():
        import certvq

        def encode(x):
            return certvq.assign(x.reshape(-1, 2), codebook).codes.view(x.shape[:-1])

        return Codec(
            module=torch.nn.Identity(), modality="latent", codebooks=[codebook], encode=encode
        )

    good, bad = np.ones((3, 2)), np.full((3, 2), np.nan)
    found = TokenEncoder(model, latents=True, group=3)(batch([good, bad, good]))
    assert [reason is None for reason in found["reason"]] == [True, False, True]
    assert "NaN" in found["reason"][1] or "nan" in found["reason"][1]
    assert found["codes"][2].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("wanted", "data", "advice"),
    [
        (1, np.ones((2, 5), np.float32), r"channels=1 \(--channels 1\) converts it"),
        (2, np.ones((1, 5), np.float32), r"channels=2 \(--channels 2\) converts it"),
        (2, np.ones((3, 5), np.float32), "convert it"),
        (3, np.ones((1, 5), np.float32), "convert it"),
    ],
)
def test_channels_are_converted_as_the_error_says(wanted, data, advice):
    codebook = torch.zeros(1, 1)

    def model():
        import certvq

        return Codec(
            module=torch.nn.Identity(),
            modality="audio",
            codebooks=[codebook],
            encode=lambda x: certvq.assign(x[:, 0].reshape(-1, 1), codebook).codes.view(1, -1),
            channels=wanted,
            rate=400,
        )

    (reason,) = TokenEncoder(model)(batch([data]))["reason"]
    text = f"has {len(data)} channels, the model takes {wanted}; {advice}"
    assert re.fullmatch(text, reason)
    if "--channels" in advice:
        converted = TokenEncoder(model, Reading(channels=wanted))(batch([data]))
        assert converted["reason"] == [None]


def test_a_sound_of_another_rate_ends_it(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(80), 8000)

    def model():
        return Codec(
            module=torch.nn.Identity(),
            modality="audio",
            codebooks=[torch.zeros(1, 1)],
            encode=lambda x: x,
            rate=400,
        )

    with pytest.raises(OptionError, match="k0: has 8000 samples per second, and the model takes"):
        TokenEncoder(model)(batch([str(tmp_path / "a.wav")]))


@pytest.mark.parametrize("options", [{"group": 0}, {"threads": 0}])
def test_options_are_checked(model_dir, options):
    with pytest.raises(OptionError, match="must be at least 1, got 0"):
        TokenEncoder(str(model_dir), Reading(), **options)
