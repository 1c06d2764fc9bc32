"""The main job, end to end on two tiny pictures.

Also of `certvq.runs._summary`, and of the threads that torch computes with meanwhile.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import certvq
from certvq.check import Violation
from certvq.errors import DataError, FileFormatError
from certvq.jobs import DemoResult, demo_config, run_demo
from certvq.jobs import demo as demo_module
from certvq.models import VQVAE
from certvq.tokens import decode_tokens, read_tokens
from certvq.train import TrainConfig, perplexity, psnr, usage

Draw = Callable[..., Path]
Snapshot = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def demo(tiny_config: TrainConfig, pictures: Path, tmp_path: Path) -> DemoResult:
    (pictures / "notes.txt").write_text("no image")
    return run_demo(tmp_path / "run", data=pictures, config=tiny_config)


def test_every_figure_is_what_it_says(demo: DemoResult, pictures: Path) -> None:
    """The figures are computed here once more, from the files alone."""
    files, summary = demo.files, demo.summary
    written = json.loads(files.summary.read_text())
    assert written == json.loads(json.dumps(summary.to_json()))
    file = read_tokens(files.tokens)
    (record,) = file.records
    original = np.asarray(Image.open(pictures / f"{record.key}.png"))
    pixels = decode_tokens(file, VQVAE.from_pretrained(files.model))[record.key]
    kmeans = np.asarray(Image.open(files.heldout / f"{record.key}.kmeans.png"))
    counts = np.bincount(record.codes, minlength=8)
    height, width = original.shape[:2]
    assert written == {
        "psnr_heldout": psnr(original, pixels),
        "psnr_kmeans": psnr(original, kmeans),
        "bits_per_pixel": pytest.approx(record.codes.size * 3 / (height * width)),
        "perplexity": perplexity(counts),
        "usage": usage(counts),
        "codes_total": record.codes.size,
        "decided_by": file.header.decided_by,
        "audit_violations": 0,
        "roundtrip_bit_exact": True,
        "train_seconds": summary.train_seconds,
        "total_seconds": summary.total_seconds,
        "codebook_size": 8,
        "codebook_sha256": file.header.codebook_sha256,
        "certvq_version": certvq.__version__,
        "seed": 0,
        "images": [
            {
                "key": record.key,
                "height": height,
                "width": width,
                "tokens": record.codes.size,
                "psnr": psnr(original, pixels),
                "psnr_kmeans": psnr(original, kmeans),
            }
        ],
        "canonical": json.loads(json.dumps(summary.to_json()["canonical"])),
    }
    canonical = certvq.canonical_codes(
        VQVAE.from_pretrained(files.model), torch.tensor(original).permute(2, 0, 1)[None]
    )
    with np.load(files.margins) as margins:
        assert np.array_equal(margins[record.key], canonical.margin[0].numpy())
    assert summary.canonical is not None
    assert summary.canonical.decided_by["float64"] == canonical.counts()["FLOAT64"]
    assert summary.ok
    assert 0 < summary.train_seconds < summary.total_seconds
    assert sum(summary.decided_by.values()) == record.codes.size


def test_the_run_directory_holds_what_the_page_shows(demo: DemoResult, pictures: Path) -> None:
    files = demo.files
    (record,) = read_tokens(files.tokens).records
    key = record.key
    assert sorted(path.name for path in files.heldout.iterdir()) == sorted(
        [f"{key}.{kind}.png" for kind in ("original", "reconstruction", "kmeans")]
        + ["canonical.npz", "latents.npz", "stability.npz"]
    )
    assert sorted(path.name for path in files.root.iterdir()) == sorted(
        path.name for path in files.all()
    )
    original = np.asarray(Image.open(files.heldout / f"{key}.original.png"))
    assert np.array_equal(original, np.asarray(Image.open(pictures / f"{key}.png")))
    model = VQVAE.from_pretrained(files.model)
    decoded = decode_tokens(read_tokens(files.tokens), model)[key]
    shown = np.asarray(Image.open(files.heldout / f"{key}.reconstruction.png"))
    assert np.array_equal(shown, decoded)
    with np.load(files.heldout / "latents.npz") as latents:
        rows = latents[key]
    codebook = model.quantizer.codebook.numpy()
    assert certvq.audit(rows, codebook, record.codes).ok
    with np.load(files.heldout / "stability.npz") as radii:
        found = radii[key]
    wanted = certvq.stability_radius(rows, codebook, record.codes).reshape(record.shape)
    assert np.array_equal(found, wanted)
    assert "<html" in files.report.read_text().lower()


def test_skipped_files_are_named(demo: DemoResult) -> None:
    assert [entry.path.name for entry in demo.skipped] == ["notes.txt"]


def test_a_second_run_does_not_train_again_and_gives_the_same(
    demo: DemoResult, tiny_config: TrainConfig, pictures: Path, snapshot: Snapshot
) -> None:
    before = snapshot(demo.files.root)
    stages: set[str] = set()
    again = run_demo(
        demo.files.root,
        data=pictures,
        config=tiny_config,
        progress=lambda stage, *_: stages.add(stage),
    )
    assert "train" not in stages
    assert again.summary == replace(demo.summary, total_seconds=again.summary.total_seconds)
    after = snapshot(demo.files.root)
    same = before.keys() - {"summary.json", "report.html"}
    assert after.keys() == before.keys()
    assert {name for name in same if after[name] != before[name]} == set()


def test_the_total_time_counts_the_training_of_earlier_runs(
    demo: DemoResult, tiny_config: TrainConfig, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = demo_module.read_checkpoint_info
    monkeypatch.setattr(
        demo_module, "read_checkpoint_info", lambda path: replace(read(path), seconds=1e6)
    )
    again = run_demo(demo.files.root, data=pictures, config=tiny_config)
    assert 1e6 < again.summary.total_seconds < 1e6 + 600


def test_training_uses_one_thread_and_leaves_the_rest_as_it_was(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    seen: dict[str, int] = {}
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_demo(
            tmp_path / "run",
            data=pictures,
            config=tiny_config,
            progress=lambda stage, *_: seen.update({stage: torch.get_num_threads()}),
        )
    finally:
        torch.set_num_threads(before)
    assert (seen["train"], seen["encoding"]) == (1, 2)


def test_an_interrupted_run_is_gone_on_with(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("train", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "run", data=pictures, config=tiny_config, progress=stop)
    told: list[int] = []

    def listen(stage: str, done: int, total: int) -> None:
        told.extend([done] if stage == "train" else [])

    parts = run_demo(tmp_path / "run", data=pictures, config=tiny_config, progress=listen)
    whole = run_demo(tmp_path / "whole", data=pictures, config=tiny_config)
    assert told == [4]
    assert parts.summary.codebook_sha256 == whole.summary.codebook_sha256


def test_a_run_without_a_checkpoint_yet_starts_afresh(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("train", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "run", data=pictures, config=tiny_config, progress=stop)
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    assert run_demo(tmp_path / "run", data=pictures, config=tiny_config).summary.ok


def test_a_run_of_other_settings_is_refused_and_kept(
    demo: DemoResult, tiny_config: TrainConfig, pictures: Path, snapshot: Snapshot
) -> None:
    before = snapshot(demo.files.root)
    with pytest.raises(
        FileFormatError, match=r"checkpoint was trained with batch_size \(4, not 2\)"
    ):
        run_demo(demo.files.root, data=pictures, config=replace(tiny_config, batch_size=2))
    assert snapshot(demo.files.root) == before


def test_overwriting_replaces_a_run_of_other_settings(
    demo: DemoResult, tiny_config: TrainConfig, pictures: Path
) -> None:
    other = replace(tiny_config, batch_size=2)
    found = run_demo(demo.files.root, data=pictures, config=other, overwrite=True)
    assert found.summary.codebook_sha256 != demo.summary.codebook_sha256


def test_a_wrong_code_is_counted_and_the_summary_is_not_ok(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = demo_module.encode_photographs

    def spoiled(*given: Any, **options: Any) -> object:
        found = encode(*given, **options)
        audit = replace(
            found.audit, violations=(Violation(0, 1, 0, certvq.spec.squared_l2([1], [0])),)
        )
        return replace(found, audit=audit)

    monkeypatch.setattr(demo_module, "encode_photographs", spoiled)
    summary = run_demo(tmp_path / "run", data=pictures, config=tiny_config).summary
    assert (summary.audit_violations, summary.ok) == (1, False)


def test_a_differing_pixel_is_seen_and_the_summary_is_not_ok(
    tiny_config: TrainConfig, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = demo_module.decode_tokens

    def spoiled(*given: Any, **options: Any) -> dict[str, np.ndarray]:
        found = {key: pixels.copy() for key, pixels in decode(*given, **options).items()}
        next(iter(found.values()))[-1, -1, 0] ^= 1
        return found

    monkeypatch.setattr(demo_module, "decode_tokens", spoiled)
    summary = run_demo(tmp_path / "run", data=pictures, config=tiny_config).summary
    assert (summary.roundtrip_bit_exact, summary.ok) == (False, False)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {}, False),
        ({"a": 1}, {"b": 1}, False),
    ],
)
def test_pictures_are_the_same_if_keys_and_pixels_are(
    one: dict[str, int], other: dict[str, int], same: bool
) -> None:
    def pictures(given: dict[str, int]) -> dict[str, np.ndarray]:
        return {key: np.full((2, 2, 3), level, np.uint8) for key, level in given.items()}

    assert demo_module.same_pictures(pictures(one), pictures(other)) is same


def test_no_usable_image_leaves_no_folder(
    tiny_config: TrainConfig, draw_folder: Draw, tmp_path: Path
) -> None:
    folder = draw_folder()
    (folder / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"holds no usable image, 1 skipped: .*notes\.txt"):
        run_demo(tmp_path / "run", data=folder, config=tiny_config)
    assert not (tmp_path / "run").exists()


def test_the_default_configuration_fits_in_the_time_that_is_given() -> None:
    config = demo_config(seconds=60, seed=4)
    assert (config.seconds, config.steps, config.seed) == (60, None, 4)
    assert math.isclose(demo_config().seconds or 0, 190)


def test_a_smaller_budget_for_a_finished_run_keeps_the_record(
    demo: DemoResult, tiny_config: TrainConfig, pictures: Path
) -> None:
    before = demo.files.config.read_bytes(), demo.files.metrics.read_bytes()
    again = run_demo(demo.files.root, data=pictures, config=replace(tiny_config, steps=2))
    assert (demo.files.config.read_bytes(), demo.files.metrics.read_bytes()) == before
    assert '<th scope="row">steps</th><td>4</td>' in demo.files.report.read_text()
    assert again.summary.train_seconds == demo.summary.train_seconds


def test_a_run_among_its_photographs_goes_on_and_names_may_be_long(
    tiny_config: TrainConfig, draw_folder: Draw
) -> None:
    """Its own pictures are not taken for photographs; those of too long a name are named."""
    folder = draw_folder(**{letter * 240: (24, 20, 3) for letter in "ab"})
    first = run_demo(folder / "run", data=folder, config=tiny_config)
    second = run_demo(folder / "run", data=folder, config=tiny_config)
    assert second.summary.psnr_heldout == first.summary.psnr_heldout
    reasons = [entry.reason for entry in second.skipped]
    assert reasons[0] == "holds what certvq has written; name the folder itself to use it"
    long = ["its name is too long for a file here"]
    assert reasons[1:] == long == [entry.reason for entry in first.skipped]
    assert second.files.report.is_file()


def _fail_within(count: int) -> None:
    with demo_module.torch_threads(count):
        assert torch.get_num_threads() == count
        raise ZeroDivisionError


def test_the_number_is_put_back_even_after_a_failure() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        _fail_within(before + 1)
    assert torch.get_num_threads() == before
