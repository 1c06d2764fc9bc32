"""docs/theory.md and the Lean statements in the package are those of ledger and Lean project."""

import subprocess
import sys
from pathlib import Path

from certvq.theory import LEDGER

ROOT = Path(__file__).parents[2]


def test_page_and_lean_statements_are_fresh():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_theory.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_theorem_is_on_the_page_with_its_meaning():
    page = (ROOT / "docs" / "theory.md").read_text()
    for name, entry in LEDGER.items():
        assert f"### {name}\n\n{entry.statement.meaning}\n" in page
        assert f"theorem {name} {entry.statement.lean}\n" in page


def test_places_that_rely_on_a_theorem_exist():
    """A place is a dotted name, or words that say that nothing is built in yet."""
    import importlib

    for name, entry in LEDGER.items():
        for place in entry.statement.places:
            if not place.startswith("certvq."):
                assert "none is built in yet" in place, f"{name}: {place}"
                continue
            parts = place.split(" ")[0].split(".")
            found = importlib.import_module(parts[0])
            for part in parts[1:]:
                if not hasattr(found, part):
                    found = importlib.import_module(f"{found.__name__}.{part}")
                else:
                    found = getattr(found, part)
            assert found is not None
