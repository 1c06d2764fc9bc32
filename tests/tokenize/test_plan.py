"""What becomes which part."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certvq.errors import DataError, OptionError
from certvq.tokenize import tokenize
from certvq.tokenize._plan import looks_like, plan, sources_digest
from certvq.tokens import export_tokens
from certvq.tokens._part import part_name


@pytest.fixture
def tree(tmp_path):
    """Return a folder with files of all kinds."""
    for name in ("b/2.png", "a/1.jpg", "a/1.png", "notes.txt", "s.tar", "c.WAV", "z.npy", ".x.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "data"


def test_a_folder_gives_shards_and_then_files_by_name(tree):
    shard, files = plan([tree], "image")
    assert (shard.kind, shard.path, shard.keys) == ("tar", tree / "s.tar", ("s",))
    assert files.names == ("a/1.jpg", "a/1.png", "b/2.png")
    assert files.keys == ("a/1.jpg", "a/1.png", "b/2")


def test_tokens_that_were_written_below_a_folder_are_no_source(tree, tmp_path, model_dir, pictures):
    tokenize(str(model_dir), pictures(1), tmp_path / "set")
    for name in ("tokens.parquet", "b/x.parquet"):
        (tree / name).write_bytes((tmp_path / "set" / part_name(0)).read_bytes())
    export_tokens(tmp_path / "set", tree / "shards", "webdataset")
    pq.write_table(pa.table({"certvq": ["certvq"]}), tree / "mine.parquet")
    assert [part.path.name for part in plan([tree], "image")] == ["mine.parquet", "s.tar", "data"]


def test_files_are_divided_by_number(tree):
    parts = plan([tree], "image", files_per_part=2)
    assert [len(part.keys) for part in parts] == [1, 2, 1]


def test_what_is_taken_depends_on_the_model(tree):
    assert plan([tree], "audio")[-1].names == ("c.WAV",)
    assert [part.path.name for part in plan([tree], "latent")] == ["z.npy"]


def test_a_pattern_gives_the_keys_below_its_fixed_part(tree):
    (part,) = plan([str(tree / "**/*.png")], "image")
    assert part.names == ("a/1.png", "b/2.png")
    assert part.keys == ("a/1", "b/2")


def test_several_sources_begin_keys_with_their_names(tree):
    parts = plan([tree / "a", tree / "b"], "image")
    assert [part.keys for part in parts] == [("a/1.jpg", "a/1.png"), ("b/2",)]


def test_files_that_are_named_are_one_source(tree):
    (part,) = plan([tree / "b/2.png", tree / "a/1.jpg", tree / "notes.txt"], "image")
    assert part.names == ("a/1.jpg", "b/2.png", "notes.txt")


def test_the_order_of_named_files_does_not_matter(tree):
    names = [tree / "b/2.png", tree / "a/1.jpg"]
    assert plan(names, "image") == plan(names[::-1], "image")


def test_a_digest_tells_sizes_and_names(tree):
    before = sources_digest(plan([tree], "image"))
    assert sources_digest(plan([tree], "image")) == before
    (tree / "b/2.png").write_bytes(b"longer than it was")
    assert sources_digest(plan([tree], "image")) != before


def test_the_modality_is_guessed_by_the_first_name_that_tells(tree):
    assert looks_like([tree / "s.tar", tree / "c.WAV"]) == "audio"
    assert looks_like([tree / "z.npy"]) == "latent"
    assert looks_like([tree / "z.npy", tree / "b"]) == "image"  # arrays may lie beside pictures
    assert looks_like([tree / "s.tar"]) is None


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["missing"], "missing: does not exist"),
        (["empty"], r"empty: holds nothing that the model takes \(image\) among 0 files"),
        (["z.npy"], "z.npy: holds latents, but the model takes image"),
    ],
)
def test_a_source_without_anything_is_named(tree, names, text):
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match=text):
        plan([tree / name for name in names], "image")


def test_two_sources_of_one_name_are_refused(tree):
    (tree / "b/a").mkdir()
    (tree / "b/a/3.png").touch()
    with pytest.raises(OptionError, match="two sources are called 'a'"):
        plan([tree / "a", tree / "b/a"], "image")


@pytest.mark.parametrize("sources", [[], ["x"]])
def test_no_source_and_no_file_a_part_are_refused(sources):
    with pytest.raises(OptionError, match="at least 1|at least one source"):
        plan(sources, "image", files_per_part=0)
