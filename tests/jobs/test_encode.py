"""Images to tokens and back through files.

Also of `certvq.jobs.encode`, `certvq.jobs._encode_part` and `certvq.jobs.decode`.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from certvq.errors import DataError, DigestMismatchError, FileFormatError, OptionError
from certvq.jobs import decode_file, encode_images
from certvq.jobs._photographs import load_images
from certvq.models import VQVAE, VQVAEConfig
from certvq.tokenize import audit_set, decode_set
from certvq.tokens import encode_photographs, open_tokens, read_tokens
from certvq.train import mean_psnr, perplexity, usage

Draw = Callable[..., Path]
Snapshot = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def tokens(model_dir: Path, pictures: Path, tmp_path: Path) -> Path:
    encode_images(model_dir, [pictures], tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_the_token_file_holds_what_encoding_gives(
    model_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    found = encode_images(model_dir, [pictures], tmp_path / "t.parquet")
    photographs = load_images([pictures]).photographs
    wanted = encode_photographs(VQVAE.from_pretrained(model_dir), photographs)
    written = read_tokens(tmp_path / "t.parquet")
    assert written.header == wanted.header
    for one, other in zip(written.records, wanted.records, strict=True):
        assert (one.key, one.shape, one.size) == (other.key, other.shape, other.size)
        assert np.array_equal(one.codes, other.codes)
    counts = np.bincount(np.concatenate([r.codes for r in wanted.records]), minlength=8)
    assert found.figures == {
        "images": 2,
        "codes_total": 6 * 5 + 5 * 9,
        "decided_by": wanted.header.decided_by,
        "audit_violations": 0,
        "bits_per_pixel": pytest.approx(75 * math.log2(8) / (24 * 20 + 17 * 33)),
        "perplexity": perplexity(counts),
        "usage": usage(counts),
        "psnr": mean_psnr((p.pixels, wanted.reconstructions[p.key]) for p in photographs),
        "codebook_sha256": wanted.header.codebook_sha256,
        "skipped": 0,
    }


def test_decoding_gives_the_reconstructions_of_encoding(
    model_dir: Path, pictures: Path, tokens: Path, tmp_path: Path
) -> None:
    photographs = load_images([pictures]).photographs
    wanted = encode_photographs(VQVAE.from_pretrained(model_dir), photographs).reconstructions
    written = decode_file(model_dir, tokens, tmp_path / "out").paths
    assert written == [tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"]
    for path in written:
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), wanted[path.stem])


def test_what_a_model_cannot_take_is_left_out_of_a_folder_by_name(
    model_dir: Path, draw_folder: Draw, tmp_path: Path
) -> None:
    folder = draw_folder(tiny=(3, 9, 3), large=(9, 9, 3), grey=(9, 9, 1))
    found = encode_images(model_dir, [folder], tmp_path / "t.parquet")
    assert [record.key for record in read_tokens(tmp_path / "t.parquet").records] == ["large"]
    assert found.figures["skipped"] == 2
    assert [str(entry).partition(";")[0] for entry in found.skipped] == [
        f"{folder / 'grey.png'}: has 1 channels, the network takes 3",
        f"{folder / 'tiny.png'}: is 3 x 9 pixels, smaller than the stride of 4",
    ]


def test_files_that_a_model_cannot_take_are_all_named_and_leave_no_tokens(
    model_dir: Path, draw_folder: Draw, tmp_path: Path
) -> None:
    folder = draw_folder(tiny=(3, 9, 3), large=(9, 9, 3), grey=(9, 9, 1))
    (folder / "notes.txt").write_text("no image")
    files = [folder / name for name in ("tiny.png", "large.png", "notes.txt", "grey.png")]
    with pytest.raises(DataError) as caught:
        encode_images(model_dir, files, tmp_path / "t.parquet")
    assert str(caught.value).startswith(
        f"3 problems: (1) {files[0]}: is 3 x 9 pixels, smaller than the stride of 4; enlarge it or "
        f"leave it out; (2) {files[2]}: not a readable image"
    )
    assert f"(3) {files[3]}: has 1 channels, the network takes 3; load" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "pictures"]


def test_grey_images_for_a_colour_model_are_refused_unless_converted(
    model_dir: Path, draw_folder: Draw, tmp_path: Path
) -> None:
    folder = draw_folder(grey=(9, 9, 1))
    with pytest.raises(DataError, match=r"grey\.png: has 1 channels, the network takes 3; load"):
        encode_images(model_dir, [folder], tmp_path / "t.parquet")
    assert encode_images(model_dir, [folder], tmp_path / "t.parquet", channels=3).figures["images"]


@pytest.mark.parametrize("occupied", ["file", "folder"])
def test_decoding_replaces_nothing(
    model_dir: Path, tokens: Path, tmp_path: Path, snapshot: Snapshot, occupied: str
) -> None:
    out = tmp_path / "out"
    if occupied == "file":
        out.touch()
    else:
        out.mkdir()
        (out / "holiday.png").touch()
    before = snapshot(tmp_path)
    with pytest.raises(OptionError, match="out: must be a folder that does not exist yet or is"):
        decode_file(model_dir, tokens, out)
    assert snapshot(tmp_path) == before


def test_an_empty_folder_may_be_decoded_to(model_dir: Path, tokens: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert all(path.is_file() for path in decode_file(model_dir, tokens, tmp_path / "out").paths)


def test_tokens_of_another_model_are_refused_and_leave_nothing(
    model_dir: Path, tokens: Path, tmp_path: Path
) -> None:
    other = VQVAE.from_pretrained(model_dir)
    other.quantizer.codebook.mul_(2)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(
        DigestMismatchError, match=r"t\.parquet: the tokens are made with the codeb"
    ):
        decode_file(tmp_path / "other", tokens, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keep", [0, 10, -20])
def test_a_truncated_token_file_is_refused_and_leaves_nothing(
    model_dir: Path, tokens: Path, tmp_path: Path, keep: int
) -> None:
    tokens.write_bytes(tokens.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"t\.parquet"):
        decode_file(model_dir, tokens, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_decoded_pictures_are_not_taken_for_photographs(
    model_dir: Path, pictures: Path, tokens: Path, tmp_path: Path
) -> None:
    """They are where the user names their folder or the files."""
    out = pictures / "decoded"
    decoded = decode_file(model_dir, tokens, out)
    found = encode_images(model_dir, [pictures], tmp_path / "again.parquet")
    assert [str(entry) for entry in found.skipped] == [
        f"{out}: holds what certvq has written; name the folder itself to use it"
    ]
    assert (tmp_path / "again.parquet").read_bytes() == tokens.read_bytes()
    for images in ([out], decoded.paths):
        figures = encode_images(model_dir, images, tmp_path / "of.parquet").figures
        assert (figures["images"], figures["skipped"]) == (2, 0)


@pytest.fixture(params=["residual", "fsq"])
def other_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model with several codebooks, or with a grid."""
    config = VQVAEConfig(hidden=8, residual_hidden=4, codebook_size=8, quantizer=request.param)
    VQVAE(config, generator=torch.Generator().manual_seed(3)).save_pretrained(tmp_path / "other")
    return tmp_path / "other"


def test_tokens_of_levels_and_grids_are_a_data_set_in_one_file(
    other_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "broken.png").write_bytes(b"no image")
    found = encode_images(other_dir, [pictures], tmp_path / "t.parquet")
    assert [str(entry) for entry in found.skipped] == [
        "broken: not a readable image (PNG, JPEG, WEBP, TIFF, BMP)"
    ]
    model = VQVAE.from_pretrained(other_dir)
    records = list(open_tokens(tmp_path / "t.parquet").records())
    for photograph, record in zip(load_images([pictures]).photographs, records, strict=True):
        pixels = torch.from_numpy(photograph.pixels.copy()).permute(2, 0, 1)
        assert record.codes.tolist() == model.encode(pixels[None] / 255).flatten().tolist()
    levels = len(model.codebooks)
    bits = levels * math.log2(model.config.codebook_size) * 75 / (24 * 20 + 17 * 33)
    assert found.figures["bits_per_pixel"] == pytest.approx(bits)
    assert (found.figures["images"], found.figures["skipped"]) == (2, 1)
    assert found.figures["codes_total"] == 75 * levels
    assert len(found.figures["perplexity"]) == len(found.figures["usage"]) == levels
    decoded = decode_set(other_dir, tmp_path / "t.parquet", tmp_path / "out")
    assert [path.name for path in decoded.paths] == ["a.png", "b.png"]
    again = audit_set(other_dir, tmp_path / "t.parquet", [pictures])
    assert (again.ok, again.tokens) == (True, 75 * levels)


def test_what_is_no_single_part_of_images_is_named(
    other_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "t.parquet"
    (pictures / "c.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"c\.png: not a readable image"):
        encode_images(other_dir, sorted(pictures.iterdir()), out)
    with pytest.raises(DataError, match=r"t\.parquet: none of 1 inputs can be used: c: not a"):
        encode_images(other_dir, [_folder_of(pictures / "c.png")], out)
    (pictures / "more.tar").touch()
    with pytest.raises(OptionError, match=r"more\.tar: holds no single image, and"):
        encode_images(other_dir, [pictures], out)
    assert not out.exists()


def test_tokens_may_go_beside_the_images_again_and_again_and_into_a_device(
    other_dir: Path, pictures: Path
) -> None:
    out = pictures / "t.parquet"
    figures = [encode_images(other_dir, [pictures], to).figures for to in (out, out)]
    assert figures[0]["images"] == 2
    figures.append(encode_images(other_dir, [pictures], Path(os.devnull)).figures)
    assert figures[1:] == figures[:1] * 2


def _folder_of(file: Path) -> Path:
    folder = file.parent.parent / "one"
    folder.mkdir()
    (folder / file.name).write_bytes(file.read_bytes())
    return folder
