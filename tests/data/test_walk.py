"""The files below a folder: through links, once each, and without what certvq has written."""

from pathlib import Path

import pytest

from certvq.data._walk import OUTPUT_MARK, files_below


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def skipped(found):
    return {entry.path: entry.reason for entry in found[1]}


def test_linked_folders_are_entered(tmp_path):
    """The folder itself may be a link, and hold nothing but links."""
    touch(tmp_path / "elsewhere" / "a.png", tmp_path / "elsewhere" / "sub" / "b.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "path").symlink_to(tmp_path / "data")
    assert files_below(tmp_path / "path") == (["link/a.png", "link/sub/b.png"], [])


@pytest.mark.parametrize("target", [".", "..", "b", "../.."])
def test_circles_end_and_no_folder_is_read_twice(tmp_path, target):
    """`a` comes before `b`, and yet the real folder is read under its own name."""
    root = tmp_path / "x" / "data"
    touch(root / "b" / "c.png")
    (root / "a").symlink_to(root / target)
    (root / "b" / "back").symlink_to(root)
    names, left = files_below(root)
    assert names == ["b/c.png"]
    assert root / "b" / "back" in {entry.path for entry in left}
    assert all("which is read already" in entry.reason for entry in left)


def test_two_links_to_one_folder_are_read_once_and_the_other_named(tmp_path):
    touch(tmp_path / "elsewhere" / "a.png")
    for name in ("one", "two"):
        touch(tmp_path / "data" / "real.png")
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    found = files_below(tmp_path / "data")
    assert found[0] == ["one/a.png", "real.png"]
    first, second = tmp_path / "data" / "one", tmp_path / "data" / "two"
    assert skipped(found) == {second: f"leads to {first}, which is read already"}


def test_links_that_lead_nowhere_are_left_to_the_reader(tmp_path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert files_below(tmp_path) == (["gone", "self"], [])


@pytest.mark.parametrize("marks", [[OUTPUT_MARK], ["train.json", "metrics.jsonl"]])
def test_what_certvq_has_written_is_named_and_not_entered(tmp_path, marks):
    touch(tmp_path / "a.png", tmp_path / "out" / "heldout" / "b.png")
    touch(*(tmp_path / "out" / mark for mark in marks))
    found = files_below(tmp_path)
    assert found[0] == ["a.png"]
    reason = "holds what certvq has written; name the folder itself to use it"
    assert skipped(found) == {tmp_path / "out": reason}
    named = [name for name in files_below(tmp_path / "out")[0] if Path(name).suffix == ".png"]
    assert named == ["heldout/b.png"]


def test_annotations_beside_photographs_make_no_run(tmp_path):
    touch(tmp_path / "coco" / "train.json", tmp_path / "coco" / "a.png")
    assert files_below(tmp_path) == (["coco/a.png", "coco/train.json"], [])
