"""A model's folder is whole or absent, and every fault of one is named in one line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from certvq._files.json import sealed
from certvq._version import __version__
from certvq.errors import DigestMismatchError, FileFormatError, OptionError
from certvq.models import VQVAE, VQVAEConfig, codebook_digest, model_digest
from certvq.models import _files as files
from certvq.models._digest import state_digest
from certvq.nn._torch.generators import without_generators


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    path = folder / "config.json"
    record = json.loads(path.read_text())
    change(record)
    record.pop("sha256", None)
    path.write_text(json.dumps(sealed(record)))


def fails(folder, kind, *parts):
    with pytest.raises(kind) as caught:
        VQVAE.from_pretrained(folder)
    text = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def test_a_model_comes_back_to_the_bit(model, folder, images, same_state):
    read = VQVAE.from_pretrained(folder)
    assert not read.training
    assert read.config == model.config
    assert model_digest(read) == model_digest(model)
    assert torch.equal(read(images).reconstruction, model(images).reconstruction)
    again = VQVAE.from_pretrained(str(folder))
    again.quantizer.draw_from(model.quantizer.generator)  # which a model's folder does not hold
    assert same_state(again, model)


def test_the_folder_holds_what_is_documented(model, folder):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    record = json.loads((folder / "config.json").read_text())
    assert record["certvq_version"] == __version__
    assert VQVAEConfig(**record["architecture"]) == model.config
    assert record["codebook_sha256"] == codebook_digest(model.quantizer.codebook)
    assert record["model_sha256"] == model_digest(model)


def test_both_files_have_the_permissions_of_new_files(model, tmp_path):
    (tmp_path / "plain").touch()
    usual = (tmp_path / "plain").stat().st_mode
    model.save_pretrained(tmp_path / "model")
    assert {path.stat().st_mode for path in (tmp_path / "model").iterdir()} == {usual}


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_a_model_that_was_read_can_be_trained_on(update, tmp_path, images):
    config = VQVAEConfig(hidden=4, dim=2, codebook_size=4, channels=3, update=update)
    VQVAE(config).half().save_pretrained(tmp_path / "half")
    VQVAE(config).save_pretrained(tmp_path / "m")
    read = VQVAE.from_pretrained(tmp_path / "m").train()
    read(images).loss.backward()
    assert all(p.requires_grad and p.grad is not None for p in read.parameters())
    assert VQVAE.from_pretrained(tmp_path / "half").quantizer.codebook.dtype == torch.float16


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_grid_in_another_precision_decodes_as_it_encodes(kind, images):
    config = VQVAEConfig(hidden=4, dim=2, channels=3, quantizer="fsq", levels=(4, 4))
    model = VQVAE(config).to(kind).eval()
    with torch.no_grad():
        found = model(images.to(kind))
    assert torch.equal(model.decode(found.codes, size=images.shape[2:]), found.reconstruction)


def test_reading_leaves_the_default_generator_alone(folder):
    before = torch.get_rng_state()
    VQVAE.from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_older_model_is_replaced_and_strange_files_are_kept(model, folder):
    model.save_pretrained(folder)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError, match=r"holds other files \(thesis.txt\).* name a new folder"):
        model.save_pretrained(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"
    with pytest.raises(OptionError, match="is a file; name a folder"):
        model.save_pretrained(folder / "thesis.txt")


def test_nothing_is_left_behind_when_writing_fails(model, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_tensors", full)
    with pytest.raises(OSError, match="No space"):
        model.save_pretrained(folder)
    with pytest.raises(OSError, match="No space"):
        model.save_pretrained(folder.parent / "new")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    fails(folder, FileFormatError, f"{folder / name}: cannot be read (No such file")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    fails(folder, FileFormatError, str(path), "not a whole safetensors file", "copy it again")


def test_a_pickle_is_not_read(folder, model):
    torch.save(model.state_dict(), folder / "model.safetensors")
    fails(folder, FileFormatError, "not a whole safetensors file")


@pytest.mark.parametrize("text", ["", "{", '{"certvq_version": ', "\xff\xfe", "[" * 200_000])
def test_a_configuration_that_is_not_json(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    fails(folder, FileFormatError, str(folder / "config.json"), "is not JSON")


def test_a_configuration_of_another_kind(folder):
    (folder / "config.json").write_text("[1, 2]")
    fails(folder, FileFormatError, "must have the keys", "got list")


def test_wrong_keys(folder):
    edit(folder, lambda record: record.pop("codebook_sha256"))
    fails(
        folder,
        FileFormatError,
        "must have the keys",
        "['architecture', 'certvq_version', 'model_sha256', 'sha256']",
    )


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda a: a.pop("dim"), "architecture must have the keys"),
        (lambda a: a.update(heads=8), "'heads'"),
        (lambda a: a.update(dim="big"), "dim must be an integer from 1 to 65536, got 'big'"),
        (lambda a: a.update(hidden=10**9), "from 1 to 65536, got 1000000000"),
        (lambda a: a.update(residual_blocks=10**9), "from 0 to 256, got 1000000000"),
        (lambda a: a.update(downsampling=3), "downsampling must be one of 2, 4, 8, 16; got 3"),
        (lambda a: a.update(update=[]), "update must be one of 'ema', 'gradient'; got []"),
    ],
)
def test_a_wrong_architecture(folder, change, part):
    edit(folder, lambda record: change(record["architecture"]))
    fails(folder, FileFormatError, str(folder / "config.json"), part, "save the model again")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"hidden": 65536}, "'encoder.body.0.weight' must be (32768, 3, 4, 4)"),
        ({"hidden": 65536, "residual_hidden": 65536}, "'encoder.body.0.weight' must be"),
        ({"codebook_size": 2**31 - 1}, "'quantizer.codebook' must be (2147483647, 4)"),
        ({"codebook_size": 2**31 - 1, "dim": 65536}, "must be (2147483647, 65536)"),
        ({"residual_blocks": 256}, "missing tensors"),
    ],
)
def test_an_architecture_far_larger_than_its_weights_is_refused_without_memory(
    folder, values, part
):
    edit(folder, lambda record: record["architecture"].update(values))
    fails(folder, FileFormatError, str(folder / "model.safetensors"), part, "save the model again")


def test_an_architecture_that_is_no_table(folder):
    edit(folder, lambda record: record.update(architecture=None))
    fails(folder, FileFormatError, "architecture must have the keys", "got NoneType")


@pytest.mark.parametrize("version", ["9.4.1", "0.0.3", 3, None])
def test_another_version(folder, version):
    edit(folder, lambda record: record.update(certvq_version=version))
    fails(folder, FileFormatError, f"written by certvq {version}, this is {__version__}", "install")


def test_a_later_patch_of_the_same_version_is_read(folder):
    major, minor = __version__.split(".")[:2]
    edit(folder, lambda record: record.update(certvq_version=f"{major}.{minor}.99"))
    assert isinstance(VQVAE.from_pretrained(folder), VQVAE)


def test_a_flipped_bit_in_any_tensor_is_found(folder, model):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])
    header.pop("__metadata__", None)
    assert header.keys() == without_generators(model.state_dict()).keys()
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        for place in (first, end - 1) if end > first else ():
            damaged = bytearray(whole)
            damaged[start + place] ^= 1
            path.write_bytes(damaged)
            if name == "quantizer.codebook":
                fails(folder, DigestMismatchError, str(path), "copy both again")
                continue
            with pytest.raises(FileFormatError) as caught:
                VQVAE.from_pretrained(folder)
            wanted = f"{path}: does not have the digest in config.json; copy both again"
            assert str(caught.value) == wanted, name
    path.write_bytes(whole)
    VQVAE.from_pretrained(folder)


@pytest.mark.parametrize("digest", ["0" * 64, "", None, 7])
def test_a_changed_digest_of_the_model_is_found(folder, digest):
    edit(folder, lambda record: record.update(model_sha256=digest))
    fails(folder, FileFormatError, "does not have the digest in config.json; copy both again")


def test_weights_of_another_model(folder, tiny, tmp_path):
    VQVAE(tiny, generator=torch.Generator().manual_seed(5)).save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    digest = json.loads((folder / "config.json").read_text())["codebook_sha256"]
    fails(folder, DigestMismatchError, str(folder / "model.safetensors"), digest, "copy both")


def rewrite(folder, change):
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    edit(folder, lambda record: record.update(model_sha256=state_digest(state)))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda s: s.pop("quantizer.codebook"), "has no tensor 'quantizer.codebook'"),
        (lambda s: s.pop("encoder.body.0.bias"), "missing tensors ['encoder.body.0.bias']"),
        (lambda s: s.update(stray=torch.zeros(1)), "unknown tensors ['stray']"),
        (
            lambda s: s.update({"encoder.body.0.bias": torch.zeros(3)}),
            "'encoder.body.0.bias' must be (4,) torch.float32, got (3,)",
        ),
        (
            lambda s: s.update({"encoder.body.0.bias": torch.zeros(4, dtype=torch.int64)}),
            "got (4,) torch.int64",
        ),
    ],
)
def test_tensors_that_do_not_fit(folder, change, part):
    rewrite(folder, change)
    fails(folder, FileFormatError, str(folder / "model.safetensors"), part, "save the model again")


def test_a_model_of_the_hub(folder, monkeypatch, tmp_path):
    asked = []

    def snapshot_download(name, *, allow_patterns):
        asked.append((name, sorted(allow_patterns)))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    VQVAE.from_pretrained("someone/photographs-4x")
    assert asked == [("someone/photographs-4x", ["config.json", "model.safetensors"])]
    (tmp_path / "someone").mkdir()
    shutil.copytree(folder, tmp_path / "someone" / "photographs-4x")
    VQVAE.from_pretrained("someone/photographs-4x")
    assert len(asked) == 1


@pytest.mark.parametrize("error", [OSError("no route\nto host"), ValueError("bad name")])
def test_a_hub_that_does_not_give_it(error, monkeypatch, tmp_path):
    def snapshot_download(*_, **__):
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    fails("someone/nothing", FileFormatError, "someone/nothing: is neither a folder nor a model")


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "/no/such", "../x", "./y", "a b/c"])
def test_a_folder_that_does_not_exist(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    fails(name, FileFormatError, f"{name}: is no folder", "model.safetensors and config.json")


def test_a_file_where_a_folder_is_wanted(folder):
    fails(folder / "config.json", FileFormatError, "is no folder")


def test_a_changed_setting_is_found_and_one_of_an_earlier_version_is_read(folder, model):
    path = folder / "config.json"
    record = json.loads(path.read_text())
    record["architecture"]["decay"] = 0.5
    path.write_text(json.dumps(record))
    fails(folder, FileFormatError, f"{path}: was changed after it was written; copy it again")
    del record["sha256"]
    path.write_text(json.dumps(record))
    assert VQVAE.from_pretrained(folder).config.decay == 0.5


def test_a_mistyped_folder_asks_nobody_and_the_hub_is_asked_aloud(
    monkeypatch, tmp_path, folder, caplog
):
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or str(folder)
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    fails("runs/demoo", FileFormatError, "runs/demoo: is no folder, runs holds demo; give one that")
    assert asked == []
    VQVAE.from_pretrained("someone/model")
    assert asked == ["someone/model"]
    assert "someone/model is no folder here; asking the Hugging Face hub" in caplog.text
