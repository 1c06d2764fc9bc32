"""The helpers that the tests of layers have."""

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "nn" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("fixtures_of_layers", _PATH)
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)

seeded, same_bits = _FIXTURES.seeded, _FIXTURES.same_bits
snapshot, unchanged = _FIXTURES.snapshot, _FIXTURES.unchanged
