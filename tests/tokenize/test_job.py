"""The whole job: bytes, resume, what fails; `certvq.tokenize._columns`, `certvq.tokenize._job`."""

import inspect
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

import certvq
from certvq.errors import DataError, OptionError
from certvq.models import VQVAE, VQVAEConfig
from certvq.tokenize import Codec, LocalEngine, Making, TokenEncoder, columns, plan


def parts_of(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest["parts"]


def test_the_bytes_do_not_depend_on_workers_or_batches(model_dir, pictures, tmp_path, content):
    source = pictures(23, broken=[4])
    for number, (workers, batch) in enumerate([(1, 1), (2, 5), (3, 100)]):
        out = tmp_path / f"out{number}"
        found = certvq.tokenize(
            model_dir,
            source,
            out,
            files_per_part=10,
            batch_size=batch,
            engine=LocalEngine(workers),
        )
        assert (found.parts, found.rows, found.failed) == (3, 22, 1)
        assert content(out) == content(tmp_path / "out0")


def test_groups_are_the_same_for_any_batch(model_dir, pictures, tmp_path, content):
    source = pictures(11)
    for out, batch in (("a", 1), ("b", 4), ("c", 100)):
        certvq.tokenize(model_dir, source, tmp_path / out, group=3, batch_size=batch)
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c")


@pytest.mark.parametrize(
    ("count", "broken"), [(40, 33), pytest.param(800, 517, marks=pytest.mark.slow)]
)
def test_one_broken_image_among_many_is_recorded(model_dir, pictures, tmp_path, count, broken):
    found = certvq.tokenize(
        model_dir, pictures(count, broken=[broken]), tmp_path / "out", files_per_part=count // 4
    )
    assert (found.parts, found.rows, found.failed) == (4, count - 1, 1)
    assert [each.source for each in found.first_failed] == [f"{broken:04d}"]
    assert found.first_failed[0].reason == "cannot be decoded: image file is truncated"
    assert found.figures()["inputs"] == count
    assert sum(found.decided_by.values()) == found.tokens > 0


def test_a_finished_job_does_nothing(model_dir, pictures, tmp_path, content):
    source = pictures(5)
    certvq.tokenize(model_dir, source, tmp_path / "out", files_per_part=2)
    before = content(tmp_path / "out")
    again = certvq.tokenize(model_dir, source, tmp_path / "out", files_per_part=2)
    assert (again.parts, again.skipped, again.rows) == (3, 3, 5)
    assert content(tmp_path / "out") == before


def test_shards_without_a_usable_item_are_no_success(model_dir, pictures, tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "a.tar", "w"):
        pass
    empty = pa.table({"image": pa.array([], pa.binary())})
    pq.write_table(empty, shards / "b.parquet")
    for _ in range(2):  # the second run finds all parts finished
        with pytest.raises(DataError, match="out: the sources hold nothing .* takes .image."):
            certvq.tokenize(model_dir, shards, tmp_path / "out")
    both = certvq.tokenize(model_dir, [shards, pictures(2)], tmp_path / "both")
    assert (both.parts, both.rows, both.failed) == (3, 2, 0)


def test_the_data_set_may_lie_among_its_own_sources(model_dir, pictures):
    source = pictures(3)
    first = certvq.tokenize(model_dir, source, source / "tokens")
    again = certvq.tokenize(model_dir, source, source / "tokens")
    assert (again.parts, again.skipped, again.rows) == (first.parts, 1, 3)


def test_only_what_is_missing_is_made_again(model_dir, pictures, tmp_path, content):
    source = pictures(6)
    certvq.tokenize(model_dir, source, tmp_path / "out", files_per_part=2)
    before = content(tmp_path / "out")
    (tmp_path / "out/parts/part-00001.parquet").unlink()
    made = []
    found = certvq.tokenize(
        model_dir,
        source,
        tmp_path / "out",
        files_per_part=2,
        watch=lambda state: made.append(state.part) if state.part else None,
    )
    assert (found.skipped, [part.number for part in made]) == (2, [1])
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"resize": 8}, "resize"),
        ({"group": 2}, "group"),
        ({"threads": 2}, "threads"),
        ({"channels": 3}, "channels"),
        ({"files_per_part": 2}, "files_per_part"),
    ],
)
def test_other_arguments_are_refused_and_named(model_dir, pictures, tmp_path, options, text):
    source = pictures(3)
    certvq.tokenize(model_dir, source, tmp_path / "out")
    with pytest.raises(OptionError, match=f"holds the data set of another job: .*{text}"):
        certvq.tokenize(model_dir, source, tmp_path / "out", **options)


def test_another_model_and_other_sources_are_refused_and_named(model_dir, pictures, tmp_path):
    source = pictures(3)
    certvq.tokenize(model_dir, source, tmp_path / "out")
    with pytest.raises(OptionError, match=r"another job: inputs.0"):
        certvq.tokenize(model_dir, pictures(4, name="more"), tmp_path / "out")
    config = VQVAE.from_pretrained(model_dir).config
    other = VQVAE(config, generator=torch.Generator().manual_seed(1))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(OptionError, match="another job: .*model_sha256"):
        certvq.tokenize(tmp_path / "other", source, tmp_path / "out")


def test_a_strict_job_ends_at_the_first_broken_input(model_dir, pictures, tmp_path):
    source = pictures(6, broken=[3])
    with pytest.raises(DataError, match=r"0003.png: "):
        certvq.tokenize(model_dir, source, tmp_path / "out", files_per_part=3, strict=True)
    assert len(list((tmp_path / "out/parts").iterdir())) == 1
    found = certvq.tokenize(model_dir, source, tmp_path / "out", files_per_part=3)
    assert (found.skipped, found.rows) == (1, 5)
    with pytest.raises(DataError, match="1 inputs cannot be used: 0003: "):
        certvq.tokenize(model_dir, source, tmp_path / "out", files_per_part=3, strict=True)


def test_a_job_without_any_usable_input_fails(model_dir, pictures, tmp_path):
    with pytest.raises(DataError, match="none of 2 inputs can be used: 0000: "):
        certvq.tokenize(model_dir, pictures(2, broken=[0, 1]), tmp_path / "out", files_per_part=1)
    assert not (tmp_path / "out").exists()  # mended sources are another job


def test_keys_that_cannot_be_used_are_recorded(model_dir, pictures, tmp_path):
    source = pictures(2)
    (source / "0000.png").rename(source / "a\\b.png")
    found = certvq.tokenize(model_dir, source, tmp_path / "out")
    assert (found.rows, found.failed) == (1, 1)
    assert "has the character" in found.first_failed[0].reason


def test_a_shard_that_breaks_off_is_recorded(model_dir, pictures, tmp_path):
    import tarfile

    source = pictures(4)
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for path in sorted(source.iterdir()):
            archive.add(path, path.name)
    whole = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(whole[:4000])
    found = certvq.tokenize(model_dir, tmp_path / "s.tar", tmp_path / "out")
    assert found.rows >= 1
    assert found.failed == 1
    assert "is damaged" in found.first_failed[0].reason


def test_latents_become_tokens_of_the_codebook(model_dir, tmp_path, rng):
    latents = rng.standard_normal((10, 8)).astype(np.float32)
    np.save(tmp_path / "z.npy", latents)
    found = certvq.tokenize(model_dir, tmp_path / "z.npy", tmp_path / "out")
    assert (found.rows, found.tokens) == (1, 10)


def test_a_sound_of_another_rate_ends_the_job(tmp_path):
    codebook = torch.zeros(1, 1)

    def model():
        return Codec(
            module=torch.nn.Identity(),
            modality="audio",
            codebooks=[codebook],
            encode=lambda x: certvq.assign(x.reshape(-1, 1), codebook).codes.view(len(x), -1),
            rate=400,
        )

    soundfile.write(tmp_path / "a.wav", np.zeros(80), 800)
    with pytest.raises(OptionError, match=r"a: has 800 samples per second.*--resample"):
        certvq.tokenize(model, tmp_path / "a.wav", tmp_path / "out")
    found = certvq.tokenize(model, tmp_path / "a.wav", tmp_path / "out", resample=True)
    assert found.tokens == 40


def test_a_folder_in_use_names_who_holds_it(model_dir, pictures, tmp_path):
    from certvq._files.lock import folder_lock

    source = pictures(1)
    import threading

    held, done = threading.Event(), threading.Event()

    def hold():
        with folder_lock(tmp_path / "out"):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        with pytest.raises(OptionError, match="is in use by process"):
            certvq.tokenize(model_dir, source, tmp_path / "out")
    finally:
        done.set()
        thread.join()


def test_columns_come_in_batches_with_a_bounded_number_ahead(model_dir, pictures):
    (part,) = plan([pictures(9)], "image")
    seen = []
    making = Making(TokenEncoder(str(model_dir)), batch_size=4)
    found = list(columns(part, making, consumed=lambda *counts: seen.append(counts[:2])))
    assert [len(each["key"]) for each in found] == [4, 4, 1]
    assert seen == [(4, 0), (4, 0), (1, 0)]
    with pytest.raises(OptionError, match="batch_size must be at least 1"):
        Making(TokenEncoder(str(model_dir)), batch_size=0)


def test_a_small_part_is_shared_by_all_threads(model_dir, pictures):
    (part,) = plan([pictures(9)], "image")
    making = Making(TokenEncoder(str(model_dir), group=2))
    with ThreadPoolExecutor(2) as executor:
        found = list(columns(part, making, executor=executor, ahead=2))
    assert [len(each["key"]) for each in found] == [2, 2, 2, 2, 1]


def test_the_package_is_the_function_too():
    assert inspect.signature(certvq.tokenize) == inspect.signature(certvq.tokenize.tokenize)


def test_a_model_that_learned_something_reconstructs(tmp_path, pictures):
    """The codes are those that the model decodes: one pass through job and model agrees."""
    config = VQVAEConfig(hidden=8, residual_hidden=4, dim=4, codebook_size=16)
    model = VQVAE(config, generator=torch.Generator().manual_seed(2)).eval()
    model.save_pretrained(tmp_path / "model")
    source = pictures(3)
    certvq.tokenize(tmp_path / "model", source, tmp_path / "out")
    import pyarrow.parquet as pq

    rows = pq.read_table(tmp_path / "out/parts/part-00000.parquet").to_pylist()
    from certvq.data import read_image

    for row in rows:
        pixels = torch.from_numpy(np.array(read_image(source / f"{row['key']}.png")))
        wanted = model.encode(pixels.permute(2, 0, 1)[None] / 255)
        assert row["codes"] == wanted.flatten().tolist()
