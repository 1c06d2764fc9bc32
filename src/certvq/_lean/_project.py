"""The files of the Lean project, each after those that it imports.

In: the folder `lean` of the repository, or its copy in an installed package. Out: their texts, and
one text of them all, which is what a run of Lean reads. Must not run Lean.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from certvq.errors import FileFormatError, LeanUnavailableError


def project_folder() -> Path:
    """Return the folder of the Lean project.

    Raises:
        LeanUnavailableError: this installation came without it.
    """
    here = Path(__file__).resolve()
    for folder in (here.parent / "sources", here.parents[3] / "lean"):
        if (folder / "CertVQ.lean").is_file():
            return folder
    raise LeanUnavailableError(
        "the Lean project is not part of this installation; run this in a checkout of the "
        "repository (git clone, then pip install -e .)"
    )


def project_files(folder: Path, *roots: str) -> dict[str, str]:
    """Return the files below some modules, each after those that it imports.

    Args:
        folder: of the project.
        roots: modules such as "CertVQ.Program"; all of the project when there is none.

    Returns:
        The text of each file by its path below `folder`, such as "CertVQ/Sum.lean".

    Raises:
        FileFormatError: a file is missing, or files import each other in a circle.
    """
    files: dict[str, str] = {}
    for root in roots or ("CertVQ",):
        _collect(folder, root, (), files)
    return files


def _collect(folder: Path, module: str, above: tuple[str, ...], files: dict[str, str]) -> None:
    name = module.replace(".", "/") + ".lean"
    if module in above:
        raise FileFormatError(f"Lean files import each other in a circle: {(*above, module)}")
    if name in files:
        return
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileFormatError(
            f"{folder / name} is missing; {above[-1] if above else 'the project'} imports {module}"
        ) from error
    for imported in re.findall(r"^import (CertVQ\S*)", text, re.MULTILINE):
        _collect(folder, imported, (*above, module), files)
    files[name] = text


def one_text(files: Mapping[str, str]) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Put files together that each import what stands before them.

    A run of Lean costs the same whatever it reads, and the npm Lean cannot import our files.

    Returns:
        The text, whose imports are those of Lean's library, and file and line of each of its lines.
    """
    library: list[str] = []
    lines: list[str] = []
    places: list[tuple[str, int]] = []
    for name, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            imports = line.startswith("import ")
            if imports and not line.startswith("import CertVQ") and line not in library:
                library.append(line)
            lines.append("" if imports else line)
            places.append((name, number))
    head = [("the imports", number) for number in range(1, len(library) + 1)]
    return "\n".join([*library, *lines, ""]), (*head, *places)
