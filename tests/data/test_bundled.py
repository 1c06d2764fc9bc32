"""The bundled photographs come from the installed packages and from nowhere else."""

import importlib.machinery
import socket
import subprocess
import sys

import numpy as np
import pytest

from certvq.data import BUNDLED_HELDOUT, _bundled, bundled_photographs, require_usable
from certvq.errors import DataError

SIZES = {
    "astronaut": (512, 512),
    "chelsea": (300, 451),
    "china": (427, 640),
    "coffee": (400, 600),
    "flower": (427, 640),
    "hubble_deep_field": (872, 1000),
    "immunohistochemistry": (512, 512),
    "motorcycle": (500, 741),
    "retina": (1411, 1411),
    "rocket": (427, 640),
}


def test_ten_colour_photographs_without_the_network(monkeypatch):
    def refuse(*args):
        raise AssertionError(args)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    photographs = bundled_photographs()
    assert {p.key: (p.height, p.width) for p in photographs} == SIZES
    assert [p.key for p in photographs] == sorted(SIZES)
    require_usable(photographs, stride=16, channels=3)


def colours(pixels):
    """Shares of 512 colours."""
    red, green, blue = np.moveaxis(pixels // 32, 2, 0).astype(int)
    counts = np.bincount((red * 64 + green * 8 + blue).ravel(), minlength=512)
    return counts / counts.sum()


def test_they_are_ten_different_scenes():
    """No two share most of their colours, as the two views of a stereo pair do."""
    shares = [colours(p.pixels) for p in bundled_photographs()]
    for number, one in enumerate(shares):
        assert max([np.minimum(one, other).sum() for other in shares[:number]], default=0) < 0.75


def test_those_held_out_are_among_them():
    assert set(BUNDLED_HELDOUT) < set(SIZES)


def test_neither_package_is_imported():
    code = (
        "import sys; from certvq.data import bundled_photographs; bundled_photographs(); "
        "print(*{'torch', 'skimage', 'sklearn', 'pooch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(_bundled, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"need the package skimage; install certvq\[train\]"):
        bundled_photographs()


def test_an_absent_file_is_named(monkeypatch, tmp_path):
    spec = importlib.machinery.ModuleSpec("skimage", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(_bundled, "find_spec", lambda name: spec)
    with pytest.raises(DataError, match=r"skimage does not hold data/astronaut\.png; install"):
        bundled_photographs()
