"""Models whose decoder needs numbers beside the codes: EnCodec as at 48 kHz, and one's own."""

import numpy as np
import pytest
import soundfile
import torch

import certvq
from certvq.errors import CertificateError, OptionError
from certvq.tokenize import Codec, LocalEngine, TokenEncoder, audit_set, decode_set
from certvq.tokens import DatasetWriter, open_tokens, verify_tokens

CHUNKS = {"chunk_length_s": 0.02, "overlap": 0.1}  # of 480 samples, each 432; 30 frames of 16
STEREO = {"audio_channels": 2, "norm_type": "time_group_norm", "use_causal_conv": False}
KINDS = {
    "chunks that are normalised": {"normalize": True, **CHUNKS, **STEREO},  # as at 48 kHz
    "chunks": CHUNKS,
    "whole sounds that are normalised": {"normalize": True},
}
FAILS_BY_HAND = 2 * 432 + 20
LENGTHS = [7, 432, 442, 480, 481, 864, 864 + 33, 1184, 1296]


@pytest.fixture(scope="module", params=KINDS)
def encodec(request, hf_models, tmp_path_factory):
    """Return the folder of an EnCodec with side numbers, its patched model and its channels."""
    import transformers

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "encodec"
    hf_models.encodec(**KINDS[request.param]).save_pretrained(folder)
    model = transformers.EncodecModel.from_pretrained(str(folder)).eval()
    certvq.patch_module(model)
    return folder, model, model.config.audio_channels


def by_hand(model, sound):
    """Encode and decode as the model's own documentation does, without its padding."""
    with torch.no_grad():
        found = model.encode(torch.from_numpy(sound)[None])
        codes, scales, missing = found.audio_codes, found.audio_scales, found.last_frame_pad_length
        back = model.decode(codes, scales, last_frame_pad_length=missing).audio_values
    return found, back[0, :, : sound.shape[1]].numpy()


@pytest.mark.parametrize("length", LENGTHS)
def test_sounds_come_back_as_the_model_itself_gives_them(encodec, rng, tmp_path, length):
    folder, model, channels = encodec
    sound = rng.uniform(-0.5, 0.5, (channels, length)).astype(np.float32)
    found, wanted = by_hand(model, sound)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/a.wav", sound.T, 24000, subtype="FLOAT")
    certvq.tokenize(folder, tmp_path / "in", tmp_path / "out")
    (record,) = open_tokens(tmp_path / "out").records()
    chunks = list(found.audio_codes)
    frames = [chunk.shape[-1] for chunk in chunks]
    frames[-1] -= found.last_frame_pad_length
    codes = torch.cat([chunk[0, :, :n] for chunk, n in zip(chunks, frames, strict=True)], 1)
    assert record.codes.tolist() == codes.T.flatten().tolist()
    scales = [1.0 if scale is None else scale.item() for scale in found.audio_scales]
    pairs = zip(map(float, frames), scales, strict=True)
    assert record.side == tuple(number for pair in pairs for number in pair)
    decode_set(folder, tmp_path / "out", tmp_path / "back")
    back, _ = soundfile.read(tmp_path / "back/a.wav", dtype="float32", always_2d=True)
    assert np.array_equal(back.T, wanted)


def test_a_sound_whose_rest_is_shorter_than_the_overlap_is_padded(encodec, rng):
    """The model fails by hand: its chunks have unlike numbers of frames. See findings/."""
    folder, model, channels = encodec
    sound = rng.uniform(-0.5, 0.5, (channels, FAILS_BY_HAND)).astype(np.float32)
    padded = np.pad(sound, [(0, 0), (0, 33 - 20)])
    if model.config.chunk_length is None:
        padded = sound
    else:
        with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
            by_hand(model, sound)
    encoder = TokenEncoder(str(folder))
    one, other = (encoder({"key": ["a"], "data": [each]}) for each in (sound, padded))
    assert one["size"] == [(FAILS_BY_HAND, 24000)]
    assert one["codes"][0].tolist() == other["codes"][0].tolist()
    assert one["side"] == other["side"]


@pytest.fixture
def sounds(tmp_path, rng, encodec):
    """Return a folder of stereo sounds, some of one length, one of them broken."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(11):
        sound = rng.uniform(-0.5, 0.5, (500 if number % 3 else 900, encodec[2])) * 2.0**-number
        soundfile.write(folder / f"{number}.wav", sound, 24000, subtype="FLOAT")
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


def test_the_bytes_do_not_depend_on_workers_or_batches(encodec, sounds, tmp_path, content):
    for number, (workers, batch) in enumerate([(1, 1), (2, 3), (3, 100)]):
        out = tmp_path / f"out{number}"
        engine = LocalEngine(workers)
        options = {"files_per_part": 4, "batch_size": batch, "engine": engine}
        found = certvq.tokenize(encodec[0], sounds, out, **options)
        assert (found.parts, found.rows, found.failed) == (3, 11, 1)
        assert content(out) == content(tmp_path / "out0")
    assert verify_tokens(tmp_path / "out0").ok
    assert audit_set(encodec[0], tmp_path / "out0", [sounds]).ok
    (tmp_path / "out1/parts/part-00001.parquet").unlink()
    certvq.tokenize(encodec[0], sounds, tmp_path / "out1", files_per_part=4)
    assert content(tmp_path / "out1") == content(tmp_path / "out0")


def loud(side=True, **options):
    """Return a model of one's own that divides a sound by its loudest sample."""
    codebook = torch.linspace(-1, 1, 9)[:, None]

    def encode(sounds):
        loudest = sounds.abs().amax(dim=(1, 2))
        codes = certvq.assign((sounds / loudest[:, None, None]).reshape(-1, 1), codebook).codes
        codes = codes.view(len(sounds), -1)
        return (codes, loudest[:, None]) if side else codes

    def decode(codes, loudest):
        return codebook[codes[..., 0], 0][:, None] * loudest.float()[:, :, None]

    fields = {"encode": encode, "decode": decode, "side": side, "rate": 400, **options}
    return Codec(
        module=torch.nn.Identity(), modality="audio", channels=1, codebooks=[codebook], **fields
    )


@pytest.fixture
def quiet(tmp_path):
    """Return a sound that the model above gives back as it is, and its token data set."""
    sound = np.array([0.03125, -0.03125, 0.015625, 0.0, -0.0234375], np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 400, subtype="FLOAT")
    certvq.tokenize(loud, tmp_path / "a.wav", tmp_path / "out")
    return sound, tmp_path / "out"


def test_a_model_of_one_s_own_may_have_side_numbers(quiet, tmp_path):
    sound, out = quiet
    decode_set(loud, out, tmp_path / "back")
    assert np.array_equal(soundfile.read(tmp_path / "back/a.wav", dtype="float32")[0], sound)


def test_an_audit_compares_side_numbers(quiet, tmp_path):
    _, out = quiet
    (record,) = open_tokens(out).records()
    job = open_tokens(out).job
    (out / "parts/part-00000.parquet").unlink()
    with DatasetWriter(out, job) as writer:
        columns = {"key": [record.key], "shape": [record.shape], "size": [record.size]}
        loudness = np.nextafter(record.side[0], 1)
        columns |= {"codes": [record.codes], "decided_by": [(5, 0, 0)], "side": [(loudness,)]}
        writer.write(0, [columns])
    (found,) = audit_set(loud, out, [tmp_path / "a.wav"]).differing
    assert (found.key, found.codes, found.side) == ("a", 0, True)


def test_a_set_without_the_numbers_that_a_model_needs_is_refused(quiet, tmp_path):
    _, out = quiet
    plain = tmp_path / "plain"
    certvq.tokenize(lambda: loud(side=False), tmp_path / "a.wav", plain)
    with pytest.raises(OptionError, match="lacks side numbers, which this version of entry needs"):
        decode_set(loud, plain, tmp_path / "back")
    with pytest.raises(OptionError, match="has side numbers, which .* does not take"):
        decode_set(lambda: loud(side=False), out, tmp_path / "back")
    with pytest.raises(OptionError, match="side_numbers is none there, given is True"):
        certvq.tokenize(loud, tmp_path / "a.wav", plain)


@pytest.mark.parametrize(
    ("side", "found", "text"),
    [
        (True, None, "codes, and side numbers .*; got side numbers none"),
        (True, torch.ones(1), r"got side numbers \(1,\)"),
        (True, torch.ones(2, 1), r"got side numbers \(2, 1\)"),
        (False, torch.ones(1, 1), r"must return codes alone; got side numbers \(1, 1\)"),
    ],
)
def test_side_numbers_of_another_form_are_refused(side, found, text):
    codes = torch.zeros(1, 5, dtype=torch.int64)
    given = codes if found is None else (codes, found)
    encoder = TokenEncoder(lambda: loud(side=side, encode=lambda sounds: given))
    with pytest.raises(CertificateError, match=text):
        encoder({"key": ["a"], "data": [np.ones((1, 5), np.float32)]})


def test_side_numbers_that_are_not_finite_cost_the_input_its_codes():
    """Division of silence by its loudness, say."""
    encoder = TokenEncoder(lambda: loud(encode=lambda x: (x[:, 0].long(), x[:, :, 0] / 0)))
    found = encoder({"key": ["a"], "data": [np.ones((1, 5), np.float32)]})
    assert found["reason"] == ["its side numbers must be finite, got NaN or infinity"]
    assert (found["side"], found["codes"]) == ([None], [None])


def test_canonical_codes_have_no_side_numbers():
    with pytest.raises(OptionError, match="canonical codes have no side numbers"):
        loud(canonical=lambda: None)
