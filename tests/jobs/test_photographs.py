"""Photographs from the packages, from folders and from single files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from certvq.data import BUNDLED_HELDOUT
from certvq.errors import DataError, OptionError
from certvq.jobs._photographs import load_images, load_split

Draw = Callable[..., Path]


def test_the_bundled_photographs_are_split_the_same_way_whatever_the_seed() -> None:
    splits = [load_split(None, seed=seed).split for seed in (0, 1)]
    for split in splits:
        assert sorted(p.key for p in split.validation) == sorted(BUNDLED_HELDOUT)
        assert len(split.train) == 7


def test_bundled_photographs_may_be_converted_to_grey() -> None:
    assert {p.channels for p in load_split(None, seed=0, channels=1).split.train} == {1}


def test_a_fifth_of_a_folder_is_held_out(draw_folder: Draw) -> None:
    folder = draw_folder(**{f"p{number}": (8, 8, 3) for number in range(11)})
    split = load_split(folder, seed=0).split
    assert (len(split.train), len(split.validation)) == (9, 2)


def test_one_of_two_photographs_is_held_out(pictures: Path) -> None:
    split = load_split(pictures, seed=0).split
    assert (len(split.train), len(split.validation)) == (1, 1)


def test_one_photograph_alone_is_refused(draw_folder: Draw) -> None:
    folder = draw_folder(a=(8, 8, 3))
    text = (
        "pictures holds 1 usable image, and at least 2 are needed: one to learn from and one held"
    )
    with pytest.raises(DataError, match=text):
        load_split(folder, seed=0)


def test_what_is_no_image_is_skipped_and_named(pictures: Path) -> None:
    (pictures / "notes.txt").write_text("no image")
    assert [entry.path.name for entry in load_split(pictures, seed=0).skipped] == ["notes.txt"]


def test_files_and_folders_are_read_in_the_order_given(pictures: Path, draw_folder: Draw) -> None:
    other = draw_folder("other", c=(8, 8, 3))
    found = load_images([other / "c.png", pictures])
    assert [photograph.key for photograph in found.photographs] == ["c", "a", "b"]


def test_a_file_that_is_no_image_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"x\.png: not a readable image .*; leave it out, or give"):
        load_images([tmp_path / "x.png"])


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing: does not exist"):
        load_images([tmp_path / "nothing"])


def test_a_file_is_converted_as_folders_are(draw_folder: Draw) -> None:
    folder = draw_folder(a=(8, 8, 1))
    assert load_images([folder / "a.png"], channels=3).photographs[0].channels == 3
    assert load_images([folder / "a.png"]).photographs[0].channels == 1


def test_channels_other_than_grey_and_colour_are_refused(pictures: Path) -> None:
    for path in (pictures, pictures / "a.png"):
        with pytest.raises(OptionError, match="channels must be 1 or 3, got 2"):
            load_images([path], channels=2)
    with pytest.raises(OptionError, match="channels must be 1 or 3, got 2"):
        load_split(None, seed=0, channels=2)


def test_what_cannot_be_trained_on_is_left_out_by_name(draw_folder: Draw) -> None:
    """One below the stride, one below the crops, one grey among colour; the job goes on."""
    sizes = {f"p{number}": (16, 16, 3) for number in range(8)}
    folder = draw_folder(**sizes, grey=(16, 16, 1), tiny=(3, 16, 3), narrow=(16, 9, 3))
    seeds = range(30)
    sources = [load_split(folder, seed=seed, stride=4, crop=12) for seed in seeds]
    for source in sources:
        left_out = {entry.path.stem for entry in source.skipped}
        kept = {one.key for one in (*source.split.train, *source.split.validation)}
        assert {"grey", "tiny"} <= left_out <= {"grey", "tiny", "narrow"}
        assert kept | left_out == {*sizes, "grey", "tiny", "narrow"}
        assert "narrow" not in {one.key for one in source.split.train}
    assert {len(source.skipped) for source in sources} == {2, 3}  # held out, it may be narrow
    reasons = {entry.path.stem: entry.reason for source in sources for entry in source.skipped}
    assert reasons["tiny"] == (
        "is 3 x 16 pixels, smaller than the stride of 4; enlarge it or leave it out"
    )
    assert reasons["narrow"].startswith("is 16 x 9 pixels, smaller than the crops of 12 x 12; set")


@pytest.mark.parametrize("limits", [{"stride": 10}, {"crop": 10}])
def test_where_most_would_be_left_out_all_are_named(
    draw_folder: Draw, limits: dict[str, int]
) -> None:
    folder = draw_folder(**{f"p{number}": (9, 9, 3) for number in range(9)}, big=(16, 16, 3))
    with pytest.raises(DataError, match="photographs would be left out and ") as caught:
        load_split(folder, seed=0, **limits)
    assert sum(f"p{number}.png: is 9 x 9" in str(caught.value) for number in range(9)) >= 6


def test_copies_are_on_one_side_of_the_split(draw_folder: Draw) -> None:
    folder = draw_folder(**{f"p{number}": (8, 8, 3) for number in range(40)})
    for number in range(10):
        (folder / f"copy{number}.png").write_bytes((folder / f"p{number}.png").read_bytes())
    for seed in range(5):
        split = load_split(folder, seed=seed).split
        assert len(split.train) + len(split.validation) == 50
        assert 9 <= len(split.validation) <= 10
        heldout = {one.key.replace("copy", "p") for one in split.validation}
        assert not heldout & {one.key.replace("copy", "p") for one in split.train}


def test_a_pipe_is_refused_as_what_it_is(tmp_path: Path) -> None:
    """Opening it would wait for a writer."""
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: a pipe, socket or device, which is not read"):
        load_images([tmp_path / "a.png"])
