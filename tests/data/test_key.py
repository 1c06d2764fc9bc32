"""Keys are safe as file names below a folder, wherever they come from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certvq.data import require_key
from certvq.errors import DataError


@pytest.mark.parametrize("key", ["tom", "cats/tom", "a.b", "...", "..a", "Küche/Löffel 1", "a:b"])
def test_ordinary_names_are_keys(key):
    assert require_key(key) is None


@pytest.mark.rows(
    ("key", "problem"),
    [
        ("", "the key '' is empty or has an empty part"),
        ("/etc/passwd", "the key '/etc/passwd' is empty or has an empty part"),
        ("a/", "the key 'a/' is empty or has an empty part"),
        ("a//b", "the key 'a//b' is empty or has an empty part"),
        ("..", "the key '..' has the part '..'"),
        ("a/../b", "the key 'a/../b' has the part '..'"),
        ("./a", "the key './a' has the part '.'"),
        ("a\\b", r"the key 'a\\b' has the character '\\'"),
        ("a\nb", r"the key 'a\nb' has the character '\n'"),
        ("a\x7f", r"the key 'a\x7f' has the character '\x7f'"),
        (
            "a\udcff",
            r"the key 'a\udcff' has the character '\udcff', a byte that is no text in this locale",
        ),
        (7, "the key 7 is no text but int"),
    ],
)
def test_other_names_are_refused_with_what_is_wrong(key, problem):
    with pytest.raises(DataError) as caught:
        require_key(key)
    assert str(caught.value) == f"{problem}; use names joined by '/'"


@settings(deadline=None)
@given(key=st.text(alphabet=st.sampled_from("ab./\\\0é"), max_size=8))
def test_a_key_never_leads_out_of_its_folder(key, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp().resolve()
    try:
        require_key(key)
    except DataError:
        return
    path = (folder / key).resolve()
    assert path != folder
    assert path.is_relative_to(folder)
    assert path.relative_to(folder).as_posix() == key
