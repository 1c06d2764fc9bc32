"""Environment variables for a while."""

import os

import pytest

from certvq.bench._environment import environment_of


def test_variables_are_set_and_restored_whatever_happens(monkeypatch):
    monkeypatch.setenv("SOME_SETTING", "before")
    monkeypatch.delenv("OTHER_SETTING", raising=False)
    during = {}

    def fail():
        with environment_of({"SOME_SETTING": "7", "OTHER_SETTING": "8"}):
            during.update(os.environ)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (during["SOME_SETTING"], during["OTHER_SETTING"]) == ("7", "8")
    assert os.environ["SOME_SETTING"] == "before"
    assert "OTHER_SETTING" not in os.environ
