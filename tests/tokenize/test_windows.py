"""Long sounds, cut into windows; `certvq.tokenize._windows`."""

import io
import subprocess
import sys
import wave

import numpy as np
import pytest
import soundfile
import torch

import certvq
from certvq.errors import DataError, OptionError
from certvq.tokenize import Codec, Item, Reading, TokenEncoder, audit_set, decode_set
from certvq.tokenize._items import SoundWindow
from certvq.tokenize._media import read_pixels, read_sound
from certvq.tokenize._windows import windows
from certvq.tokens import open_tokens

RATE = 400


def packed(samples, kind):
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=kind, subtype="PCM_16")
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
@pytest.mark.parametrize("channels", [1, 2])
def test_windows_are_the_whole_sound_one_after_another(rng, kind, channels):
    data = packed(rng.uniform(-1, 1, (1001, channels)), kind)
    found = list(windows(Item("a/b", "b.wav", data), 0.5))
    assert [each.key for each in found] == [f"a/b#{n:06d}" for n in range(6)]
    assert found[2].origin == "b.wav window 2"
    assert sum(each.data.share for each in found) == pytest.approx(1)
    pieces = [read_sound(each.data, Reading(), rate=RATE) for each in found]
    assert [piece.shape for piece in pieces] == [(channels, 200)] * 5 + [(channels, 1)]
    assert np.array_equal(np.concatenate(pieces, 1), read_sound(data, Reading(), rate=RATE))


@pytest.mark.parametrize(
    ("item", "seconds"),
    [
        (Item("a", "a", packed(np.zeros(400), "WAV")), None),
        (Item("a", "a", packed(np.zeros(400), "WAV")), 1.0),
        (Item("a", "a", b"no sound"), 0.1),
        (Item("a", "a", "no/such/file.wav"), 0.1),
        (Item("a", "a", np.zeros((1, 400))), 0.1),
        (Item("a", "a", problem="is broken"), 0.1),
    ],
    ids=["not asked", "short", "unreadable", "missing", "array", "problem"],
)
def test_what_is_not_cut_stays_as_it_is(item, seconds):
    assert list(windows(item, seconds)) == [item]


def test_seconds_are_checked():
    for seconds in (0, -1, float("inf"), float("nan")):
        with pytest.raises(OptionError, match="seconds must be a finite number above 0, got"):
            Reading(seconds=seconds)
    assert "seconds" not in Reading().to_json()
    assert Reading(seconds=2.0).to_json()["seconds"] == 2.0
    with pytest.raises(DataError, match="is a window of a sound, no image"):
        read_pixels(SoundWindow(b"", 0, 1, 1.0), Reading())


def codec():
    codebook = torch.linspace(-1, 1, 9)[:, None]

    def encode(x):
        return certvq.assign(x.reshape(-1, 1), codebook).codes.view(len(x), -1)

    return Codec(
        module=torch.nn.Identity(),
        modality="audio",
        codebooks=[codebook],
        encode=encode,
        decode=lambda codes: codebook[codes[..., 0], 0][:, None],
        rate=RATE,
    )


def test_a_job_of_windows_is_audited_decoded_and_gone_on_with(tmp_path, rng, content):
    (tmp_path / "in").mkdir()
    samples = rng.uniform(-1, 1, 1003).astype(np.float32)
    soundfile.write(tmp_path / "in/long.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "in/short.wav", samples[:50], RATE, subtype="FLOAT")
    (tmp_path / "in/broken.wav").write_bytes(b"no sound")
    seen = []
    made = certvq.tokenize(
        codec,
        tmp_path / "in",
        tmp_path / "out",
        seconds=1.0,
        batch_size=2,
        watch=lambda state: seen.append((state.inputs, state.bytes)),
    )
    assert (made.rows, made.failed, made.tokens) == (4, 1, 1053)
    total = sum(path.stat().st_size for path in (tmp_path / "in").iterdir())
    assert seen[-1] == (5, pytest.approx(total, abs=len(seen)))
    records = {record.key: record for record in open_tokens(tmp_path / "out").records()}
    assert list(records) == ["long#000000", "long#000001", "long#000002", "short"]
    whole = TokenEncoder(codec)({"key": ["a"], "data": [samples[None]]})["codes"][0]
    cut = [records[f"long#{n:06d}"].codes for n in range(3)]
    assert np.array_equal(np.concatenate(cut), whole)
    assert records["long#000002"].size == (203, RATE)
    before = content(tmp_path / "out")
    again = certvq.tokenize(codec, tmp_path / "in", tmp_path / "out", seconds=1.0)
    assert (again.skipped, content(tmp_path / "out")) == (1, before)
    with pytest.raises(OptionError, match="another job: preprocessing.seconds is 1.0 there"):
        certvq.tokenize(codec, tmp_path / "in", tmp_path / "out", seconds=2.0)
    assert audit_set(codec, tmp_path / "out", [tmp_path / "in"], rows=2).ok
    decoded = decode_set(codec, tmp_path / "out", tmp_path / "wav", keys=["long#000001"])
    assert [path.name for path in decoded.paths] == ["long#000001.wav"]
    assert soundfile.info(decoded.paths[0]).frames == RATE


def test_images_are_not_cut(model_dir, pictures, tmp_path):
    with pytest.raises(OptionError, match="seconds is for sounds, and the model takes images"):
        certvq.tokenize(model_dir, pictures(1), tmp_path / "out", seconds=1.0)


PEAK = """
import resource, sys, torch, certvq
from certvq.tokenize import Codec

def codec():
    codebook = torch.linspace(-1, 1, 9)[:, None]
    def encode(x):
        rows = x[..., ::80].reshape(-1, 1)
        return certvq.assign(rows, codebook).codes.view(len(x), -1)
    return Codec(module=torch.nn.Identity(), modality="audio", codebooks=[codebook],
                 encode=encode, rate=16000, stride=80)

made = certvq.tokenize(codec, sys.argv[1], sys.argv[2], seconds=10)
print(made.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_an_hour_takes_the_memory_of_ten_minutes(tmp_path):
    """The samples of an hour alone would take 230 MB."""
    peaks = []
    for minutes in (10, 60):
        with wave.open(str(tmp_path / f"{minutes}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            for _ in range(minutes):
                file.writeframes(np.zeros(60 * 16000, "<i2").tobytes())
        command = [sys.executable, "-c", PEAK, f"{minutes}.wav", f"out{minutes}"]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        rows, peak = map(int, told.stdout.split()[-2:])
        assert rows == 6 * minutes
        peaks.append(peak)
    assert peaks[1] < 1.2 * peaks[0], peaks
