"""A folder of images: order, keys, what is skipped and why, and what is an error."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from certvq.data import Skipped, load_folder, require_usable
from certvq.errors import DataError, OptionError


def picture(path, level=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (5, 4), level if mode == "L" else (level,) * 3).save(path)


def keys(folder, **options):
    return [p.key for p in load_folder(folder, **options).photographs]


def test_photographs_come_in_the_order_of_their_paths_with_keys_without_extension(tmp_path):
    for name in ("b.png", "a/z.bmp", "a.tif", "A.webp", "c.d.jpeg"):
        picture(tmp_path / name)
    assert keys(tmp_path) == ["A", "a", "a/z", "b", "c.d"]


def test_the_right_pixels_belong_to_each_key(tmp_path):
    for level, name in enumerate(("x.png", "y.png", "sub/x.png")):
        picture(tmp_path / name, level)
    found = {p.key: int(p.pixels.max()) for p in load_folder(tmp_path).photographs}
    assert found == {"x": 0, "y": 1, "sub/x": 2}


def test_files_that_would_share_a_key_keep_their_extensions(tmp_path):
    for name in ("a.png", "a.bmp", "a.png.png", "b.png"):
        picture(tmp_path / name)
    assert keys(tmp_path) == ["a.bmp", "a.png", "a.png.png", "b"]


def test_each_photograph_knows_its_file_and_errors_name_it(tmp_path):
    picture(tmp_path / "sub" / "small.png")
    found = load_folder(tmp_path, channels=3).photographs
    assert [p.path for p in found] == [tmp_path / "sub" / "small.png"]
    with pytest.raises(DataError) as caught:
        require_usable(found, stride=8)
    assert str(caught.value) == (
        f"{tmp_path / 'sub' / 'small.png'}: photograph 'sub/small' is 4 x 5 pixels, smaller than "
        "the stride of 8; enlarge it or leave it out"
    )


def test_files_of_one_stem_in_two_folders_are_both_named(tmp_path):
    for name in ("x", "y"):
        picture(tmp_path / name / "a.png")
    found = [p for name in ("x", "y") for p in load_folder(tmp_path / name).photographs]
    with pytest.raises(DataError) as caught:
        require_usable(found, stride=1)
    assert str(caught.value) == (
        f"{tmp_path / 'x' / 'a.png'} and {tmp_path / 'y' / 'a.png'}: two photographs have the key "
        "'a'; rename one of them"
    )


def test_what_is_no_image_does_not_change_a_key(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a caption")
    assert keys(tmp_path) == ["a"]


def test_the_path_may_be_text(tmp_path):
    picture(tmp_path / "a.png")
    assert keys(str(tmp_path)) == ["a"]


def test_hidden_names_are_not_looked_at(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / ".b.png")
    picture(tmp_path / ".git" / "c.png")
    found = load_folder(tmp_path)
    assert [p.key for p in found.photographs] == ["a"]
    assert found.skipped == []


def test_unusable_files_are_skipped_with_name_and_reason(tmp_path):
    picture(tmp_path / "good.png")
    (tmp_path / "notes.txt").write_text("hello")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-30])
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    found = load_folder(tmp_path)
    assert [p.key for p in found.photographs] == ["good"]
    assert [entry.path.name for entry in found.skipped] == [
        "cut.png",
        "gone.png",
        "notes.txt",
        "pipe.png",
    ]
    reasons = {entry.path.name: entry.reason for entry in found.skipped}
    assert reasons["cut.png"].startswith(("cannot be decoded", "not a readable image"))
    assert reasons["gone.png"] == "No such file or directory"
    assert reasons["notes.txt"] == "not a readable image (PNG, JPEG, WEBP, TIFF, BMP)"
    assert reasons["pipe.png"] == "a pipe, socket or device, which is not read as an image"


def test_names_that_cannot_be_keys_are_skipped(tmp_path):
    picture(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "a\nb.png").write_bytes(whole)
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(whole)
    found = load_folder(tmp_path)
    assert [p.key for p in found.photographs] == ["good"]
    assert [entry.reason for entry in found.skipped] == [
        r"the key 'a\nb.png' has the character '\n'; use names joined by '/'",
        (
            r"the key 'caf\udce9.png' has the character '\udce9', a byte that is no text in this "
            "locale; use names joined by '/'"
        ),
    ]


def test_a_folder_that_vanishes_is_skipped(tmp_path, monkeypatch):
    picture(tmp_path / "good.png")
    (tmp_path / "sub").mkdir()
    scan = os.scandir

    def scandir(path):
        if Path(path).name == "sub":
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert load_folder(tmp_path).skipped == [Skipped(tmp_path / "sub", "No such file or directory")]


def test_a_skipped_file_reads_as_one_line():
    assert str(Skipped(Path("a/b.png"), "too odd")) == "a/b.png: too odd"


@pytest.mark.parametrize(("common", "rare"), [("colour", "grey"), ("grey", "colour")])
def test_the_rarer_kind_is_left_out_by_name(tmp_path, common, rare):
    modes = {"grey": "L", "colour": "RGB"}
    for name in "abc":
        picture(tmp_path / f"{name}.png", mode=modes[rare if name == "b" else common])
    found = load_folder(tmp_path)
    channels = {"grey": 1, "colour": 3}[common]
    assert [(p.key, p.channels) for p in found.photographs] == [("a", channels), ("c", channels)]
    (left_out,) = found.skipped
    assert str(left_out) == (
        f"{tmp_path / 'b.png'}: is {rare}, most are {common}; load all with channels={channels} "
        f"(--channels {channels} on the command line) to convert it"
    )


def test_as_many_of_either_kind_are_refused(tmp_path):
    for name in "abcd":
        picture(tmp_path / f"{name}.png", mode="L" if name in "bc" else "RGB")
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} mixes grey and colour: b.png is grey, a.png has colour, 2 of each; "
        "load it with channels=3 (--channels 3 on the command line) or channels=1 to convert all"
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_mixed_channels_are_converted_on_request(tmp_path, channels):
    picture(tmp_path / "a.png", 7)
    picture(tmp_path / "b.png", 9, mode="L")
    found = load_folder(tmp_path, channels=channels).photographs
    assert [p.pixels.shape for p in found] == [(4, 5, channels)] * 2
    assert [np.unique(p.pixels).tolist() for p in found] == [[7], [9]]


def test_other_channels_are_refused(tmp_path):
    with pytest.raises(OptionError, match="channels must be 1, 3 or None, got 2"):
        load_folder(tmp_path, channels=2)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path / "none")
    assert str(caught.value) == f"{tmp_path / 'none'}: does not exist; check the path"


def test_a_file_is_no_folder(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png must be a folder of images, but it is a file"):
        load_folder(tmp_path / "a.png")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no file; put PNG, JPEG, WEBP, TIFF, BMP images into it"
    )


def test_a_folder_without_any_usable_image_tells_the_reasons(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("hello")
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path)
    reason = "not a readable image (PNG, JPEG, WEBP, TIFF, BMP)"
    named = "; ".join(f"{tmp_path / f'{n}.txt'}: {reason}" for n in range(3))
    assert str(caught.value) == (
        f"{tmp_path} holds no usable image, 5 skipped: {named}; and 2 more; "
        "put PNG, JPEG, WEBP, TIFF, BMP images into it"
    )


def test_progress_counts_every_file(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.txt").write_text("hello")
    seen = []
    load_folder(tmp_path, progress=lambda *step: seen.append(step))
    assert seen == [("reading images", 1, 2), ("reading images", 2, 2)]
