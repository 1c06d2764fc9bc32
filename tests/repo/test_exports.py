"""The table of docs/compile.md says what happens; it is tried, cell by cell."""

import importlib.util
from pathlib import Path

import pytest

from certvq import nn
from certvq.compat import vector_quantize_pytorch as vq

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location(
    "make_export_table", ROOT / "docs/make_export_table.py"
)
WRITER = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(WRITER)
NOT_LISTED = {
    *("BaseQuantizer", "Quantizer", "EvoLFQ", "Sequential"),
    *("Residual", "GroupedResidual", "NeuralCodebook"),
}
"""Classes without latents of their own, and parts of others that are listed."""


def test_every_class_is_listed():
    for module, prefix in ((nn, ""), (vq, "compat.")):
        classes = [each for each in vars(module).values() if isinstance(each, type)]
        names = {each.__name__ for each in classes if hasattr(each, "forward")} - NOT_LISTED
        if module is nn:
            names = {n for n in names if issubclass(getattr(nn, n), nn.BaseQuantizer)}
        missing = {n for n in names if prefix + n not in WRITER.LAYERS}
        assert not missing
    assert list(WRITER.table()) == list(WRITER.LAYERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITER.LAYERS)
def test_a_row_of_the_table_holds(name):
    """Make it anew with `python docs/make_export_table.py`."""
    assert WRITER.row(name) == WRITER.table()[name]
