"""Write docs/reference.md: every public name with the first sentence of its docstring.

python docs/make_reference.py            # write it
python docs/make_reference.py --check    # exit 1 if it is not fresh
"""

import importlib
import inspect
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "reference.md"
MODULES = (
    "certvq",
    "certvq.bounds",
    "certvq.check",
    "certvq.cluster",
    "certvq.scale",
    "certvq.errors",
    "certvq.spec",
    "certvq.testing",
    "certvq.torchlean",
    "certvq.nn",
    "certvq.compat.vector_quantize_pytorch",
    "certvq.inspect",
    "certvq.models",
    "certvq.network",
    "certvq.data",
    "certvq.export",
    "certvq.tokens",
    "certvq.tokenize",
    "certvq.runs",
    "certvq.train",
    "certvq.report",
    "certvq.jobs",
)


def public_names(module: str) -> dict[str, object]:
    """Return what a module exports: its own classes, functions and constants."""
    imported = importlib.import_module(module)
    values = {name: getattr(imported, name) for name in dir(imported) if name[0] != "_"}
    return {
        name: value
        for name, value in sorted(values.items())
        if (getattr(value, "__module__", None) or "").startswith(module)
        or (name.isupper() and name != "TYPE_CHECKING")
    }


def lines_of(module: str) -> list[str]:
    """Return the section of a module."""
    head = first_sentence(importlib.import_module(module))
    lines = [f"## {module}", "", head, "", "| name | |", "| --- | --- |"]
    for name, value in public_names(module).items():
        documented = callable(value)
        says = first_sentence(value) if documented else "constant"
        lines.append(f"| `{module}.{name}` | {says} |")
    return [*lines, ""]


def first_sentence(documented: object) -> str:
    """Return the first paragraph of a docstring on one line."""
    text = inspect.getdoc(documented) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def page() -> str:
    """Return the whole page."""
    head = [
        "# Reference",
        "",
        "Every public name; `help(name)` prints its arguments, errors, guarantee and an example.",
        "This page is written by `python docs/make_reference.py`.",
        "",
    ]
    return "\n".join([*head, *(line for module in MODULES for line in lines_of(module))])


def main() -> None:
    """Write the page, or compare it."""
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != page():
            sys.exit("docs/reference.md is not fresh; run: python docs/make_reference.py")
        return
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
