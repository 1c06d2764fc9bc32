"""The Lean project: its files, its statements, and what Lean says of them.

In: the folder `lean` of the repository. Out: each theorem with its exact statement, and a report of
one run of Lean over all files, put together in the order of their imports. Must not import the
theorems of the ledger.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certvq._lean._project import one_text, project_files, project_folder
from certvq._lean._run import Lean, LeanRun, find_lean, run_lean
from certvq.errors import FileFormatError

LOGIC_AXIOMS: Final = frozenset({"propext", "Classical.choice", "Quot.sound"})
"""The axioms of Lean's logic; no theorem may rest on another."""

FORBIDDEN: Final = ("sorry", "admit", "axiom", "native_decide", "unsafe", "implemented_by")
"""Words that no file may hold outside a comment."""

_THEOREM: Final = re.compile(r"^theorem (\S+)(.*?):=", re.MULTILINE | re.DOTALL)
_AXIOMS: Final = re.compile(r"^axioms below CertVQ\.(\S+):(.*)$")


@dataclass(frozen=True)
class LeanTheorem:
    """A theorem as its file states it.

    Attributes:
        name: its name, without the namespace CertVQ.
        file: the file, such as "CertVQ/Filter.lean".
        statement: the text between the name and ``:=``, white space normalised.
    """

    name: str
    file: str
    statement: str


@dataclass(frozen=True)
class LeanReport:
    """What Lean says of the project.

    Attributes:
        lean: the Lean that ran.
        axioms: for each theorem that was proved, the axioms below it.
        problems: errors and warnings with file and line, foreign axioms, theorems not reported;
            empty when all is proved.
        seconds: what the run took.
    """

    lean: Lean
    axioms: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]
    seconds: float


def lean_theorems(folder: Path | None = None) -> dict[str, LeanTheorem]:
    """Return every theorem of the project, by name, in the order of the files.

    Example:
        >>> lean_theorems()["squaredL2_self"].statement
        '(n : Nat) (x : Nat → α) : squaredL2 n x x = 0'
    """
    theorems: dict[str, LeanTheorem] = {}
    for file, text in project_files(folder or project_folder()).items():
        for match in _THEOREM.finditer(without_comments(text)):
            statement = " ".join(match[2].split())
            if match[1] in theorems:
                raise FileFormatError(f"{file} and {theorems[match[1]].file} both prove {match[1]}")
            theorems[match[1]] = LeanTheorem(match[1], file, statement)
    return theorems


def without_comments(text: str) -> str:
    """Blank the comments of a Lean text; its lines stay where they are."""
    return re.sub(r"/-.*?-/|--[^\n]*", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)


def check_project(folder: Path | None = None, *, lean: Lean | None = None) -> LeanReport:
    """Let Lean check the whole project in one run.

    Args:
        folder: of the project; the one of this checkout by default.
        lean: which Lean; `find_lean` by default.

    Raises:
        LeanUnavailableError: there is no Lean, or no project.
        LeanError: Lean crashed or took too long.
        FileFormatError: the files do not fit together.
    """
    root = folder or project_folder()
    lean = lean or find_lean()
    files = project_files(root)
    text, places = one_text(files)
    run = run_lean(lean, text)
    reported = _reported(run)
    problems = [*_forbidden_words(files), *_complaints(run, places), *_foreign(reported)]
    problems += [
        f"{theorem.file}: Lean reports nothing of theorem {name}; is it in CertVQ/Axioms.lean?"
        for name, theorem in lean_theorems(root).items()
        if name not in reported
    ]
    proved = {name: used for name, used in reported.items() if LOGIC_AXIOMS.issuperset(used)}
    return LeanReport(lean, proved, tuple(problems), run.seconds)


def check_all() -> dict[str, bool]:
    """Say of every theorem of the project whether Lean proves it.

    Guarantee: none is called proved unless the whole project is free of problems.

    Raises:
        LeanUnavailableError: there is no Lean, or no project.
        LeanError: Lean crashed or took too long.
    """
    report = check_project()
    return {name: not report.problems and name in report.axioms for name in lean_theorems()}


def _reported(run: LeanRun) -> dict[str, tuple[str, ...]]:
    """Return the axioms below each theorem, as `CertVQ/Axioms.lean` printed them."""
    found = (_AXIOMS.match(line) for line in run.printed)
    return {match[1]: tuple(match[2].split()) for match in found if match}


def _forbidden_words(files: Mapping[str, str]) -> list[str]:
    pattern = re.compile(rf"(?<![.\w])({'|'.join(FORBIDDEN)})\b")
    return [
        f"{file}:{number}: the word {match[1]} is not allowed"
        for file, text in files.items()
        for number, line in enumerate(without_comments(text).splitlines(), 1)
        for match in [pattern.search(line)]
        if match
    ]


def _complaints(run: LeanRun, places: tuple[tuple[str, int], ...]) -> list[str]:
    complaints: list[str] = []
    for message in run.messages:
        if message.severity != "information":
            file, line = places[min(max(message.line, 1), len(places)) - 1]
            complaints.append(f"{file}:{line}: {message.severity}: {message.text}")
    return complaints


def _foreign(reported: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [
        f"theorem {name} rests on {', '.join(sorted(set(used) - LOGIC_AXIOMS))}"
        for name, used in reported.items()
        if not LOGIC_AXIOMS.issuperset(used)
    ]
