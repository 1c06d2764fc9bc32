"""Write the table of docs/images.md from the kinds of files that the tests read.

Run as ``python docs/make_images.py`` from anywhere; needs the extra ``dev``.
"""

import sys
from pathlib import Path

PAGE = Path(__file__).with_name("images.md")
_BEGIN, _END = "<!-- kinds: made by docs/make_images.py -->\n", "<!-- end of kinds -->\n"

sys.path.append(str(PAGE.parents[1] / "tests" / "data"))

from kinds import KINDS, table

__all__ = ["KINDS", "PAGE", "written"]


def written() -> str:
    """Give the page with a fresh table."""
    before, rest = PAGE.read_text(encoding="utf-8").split(_BEGIN)
    return before + _BEGIN + table() + _END + rest.split(_END)[1]


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
