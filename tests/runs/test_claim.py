"""A folder becomes a run directory only where nothing else can be lost."""

from pathlib import Path

import pytest

from certvq.errors import OptionError
from certvq.runs import RunFiles
from certvq.runs._claim import claim_run, remove_results, remove_run


def _run(path: Path) -> RunFiles:
    files = RunFiles(path)
    for folder in (files.heldout, files.model, files.tensorboard):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    for file in (files.config, files.checkpoint, files.metrics, files.tokens, files.summary):
        file.touch()
    files.report.touch()
    return files


def test_an_absent_or_empty_folder_may_be_used(tmp_path: Path) -> None:
    assert claim_run(tmp_path, existing=False) == RunFiles(tmp_path)
    claim_run(tmp_path / "new", existing=False)
    assert not (tmp_path / "new").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(OptionError, match="f: is a file; give a folder that does not exist yet"):
        claim_run(tmp_path / "f", existing=True, overwrite=True)


def test_a_folder_of_other_things_is_refused_even_to_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    text = r"is neither empty nor a run directory \(train.json is not in it\)"
    with pytest.raises(OptionError, match=text):
        claim_run(tmp_path, existing=True, overwrite=True)


def test_a_run_is_neither_gone_on_with_nor_replaced_unasked(tmp_path: Path) -> None:
    files = _run(tmp_path)
    with pytest.raises(OptionError, match="holds a run already; resume it, overwrite it, or give"):
        claim_run(tmp_path, existing=False)
    assert claim_run(tmp_path, existing=True) == files
    assert claim_run(tmp_path, existing=False, overwrite=True) == files


def test_only_what_a_run_has_written_is_removed(tmp_path: Path) -> None:
    files = _run(tmp_path)
    (tmp_path / "notes.txt").touch()
    remove_run(files)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    remove_run(files)


def test_results_are_removed_and_the_training_stays(tmp_path: Path) -> None:
    files = _run(tmp_path)
    remove_results(files)
    left = {files.config, files.checkpoint, files.metrics, files.model, files.tensorboard}
    assert set(tmp_path.iterdir()) == left


def test_photographs_that_the_run_would_replace_are_refused(tmp_path: Path) -> None:
    files = _run(tmp_path / "run")
    (tmp_path / "link").symlink_to(files.heldout)
    for data in (files.heldout, tmp_path / "link"):
        with pytest.raises(OptionError, match="the run would replace these photographs by its own"):
            claim_run(tmp_path / "run", existing=True, data=data)


def test_what_a_killed_run_left_before_its_first_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".certvq.lock").touch()
    (tmp_path / ".train.json.abcdefgh.part").touch()
    assert claim_run(tmp_path, existing=False) == RunFiles(tmp_path)
