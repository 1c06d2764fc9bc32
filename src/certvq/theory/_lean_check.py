"""Check the Lean project: ``python -m certvq.theory._lean_check``.

In: the folder `lean`. Out: a line for each theorem with the axioms below it, and an exit status: 0
if all is proved, 1 if anything is open, 2 if Lean is missing and cannot be fetched. Where no Lean
is found, one is set up from npm first. Must not import the theorems of the ledger.
"""

import sys

from certvq._lean._run import Lean, find_lean
from certvq._lean._setup import set_up
from certvq.errors import FileFormatError, LeanError, LeanUnavailableError
from certvq.theory._lean import check_project, lean_theorems


def require_lean() -> Lean:
    """Find a Lean, and set one up if there is none.

    Raises:
        LeanUnavailableError: there is none, and npm cannot fetch one.
    """
    try:
        return find_lean()
    except LeanUnavailableError:
        set_up()
        return find_lean()


def main() -> int:
    """Check the project and print what Lean says.

    Returns:
        The exit status.
    """
    try:
        report = check_project(lean=require_lean())
    except LeanUnavailableError as error:
        _say(f"error: {error}")
        return 2
    except (FileFormatError, LeanError) as error:
        _say(f"error: {error}")
        return 1
    theorems = lean_theorems()
    whole = report.lean.has_library_proofs
    none = "no axiom" if whole else "no axiom but those below Lean's own library"
    for name, theorem in theorems.items():
        axioms = ", ".join(report.axioms.get(name, ("NOT PROVED",))) or none
        _say(f"{theorem.file}: {name}: {axioms}")
    for problem in report.problems:
        _say(problem)
    proved = len(report.axioms.keys() & theorems.keys())
    _say(
        f"Lean {report.lean.version}: {proved} of {len(theorems)} theorems proved in "
        f"{report.seconds:.0f} s, {len(report.problems)} problems"
    )
    return 1 if report.problems else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
