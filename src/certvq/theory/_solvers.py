"""Run z3 and cvc5 on SMT-LIB text through their Python packages.

In: a script that ends with (check-sat). Out: sat, unsat or unknown, the model where there is one,
and the seconds taken. Must not import the kernel.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from certvq.errors import OptionError, SolverUnavailableError


@dataclass(frozen=True)
class Answer:
    """What a solver said: `status` is sat, unsat or unknown."""

    solver: str
    status: str
    model: str
    seconds: float


def require_solvers(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, once each is known and installed.

    Raises:
        OptionError: a name is unknown, or there is none.
        SolverUnavailableError: a solver is not installed or does not load.
    """
    if not names:
        raise OptionError(f"at least one solver is needed, of {', '.join(SOLVERS)}; came none")
    for name in names:
        if name not in SOLVERS:
            raise OptionError(f"a solver must be one of {', '.join(SOLVERS)}; came {name!r}")
        package, module = _PACKAGES[name]
        try:
            import_module(module)
        except (ImportError, OSError) as error:
            raise SolverUnavailableError(
                f"the solver {name} is not installed ({error}); pip install 'certvq[prove]' "
                f"(package {package}), or name another with --solver"
            ) from error
    return names


def ask(solver: str, script: str, seconds: float) -> Answer:
    """Give a script to a solver.

    Args:
        solver: z3 or cvc5, installed.
        script: SMT-LIB 2 text that ends with (check-sat).
        seconds: limit of the time; a solver that reaches it answers unknown.

    Returns:
        The answer; the model is empty unless it is sat.
    """
    start = time.perf_counter()
    status, model = SOLVERS[solver](script, int(1000 * seconds))
    return Answer(solver, status, model, time.perf_counter() - start)


def _z3(script: str, milliseconds: int) -> tuple[str, str]:
    z3: Any = import_module("z3")
    context = z3.Context()
    solver = z3.Solver(ctx=context)
    solver.set("timeout", milliseconds)
    solver.from_string(script)
    status = str(solver.check())
    return status, solver.model().sexpr() if status == "sat" else ""


def _cvc5(script: str, milliseconds: int) -> tuple[str, str]:
    cvc5: Any = import_module("cvc5")
    solver = cvc5.Solver(cvc5.TermManager())
    # Not with nl-cov, cylindrical coverings: they prove more, and heed no limit.
    solver.setOption("tlimit-per", str(milliseconds))
    solver.setOption("produce-models", "true")
    parser = cvc5.InputParser(solver)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, script + "(get-model)", "query")
    said: list[str] = []
    while not (command := parser.nextCommand()).isNull():
        said.append(command.invoke(solver, parser.getSymbolManager()).strip())
        if said[-1].startswith(("unsat", "unknown")):
            return said[-1].split()[0], ""
    return "sat" if "sat" in said else "unknown", said[-1]


SOLVERS: Final[dict[str, Callable[[str, int], tuple[str, str]]]] = {"z3": _z3, "cvc5": _cvc5}
_PACKAGES: Final = {"z3": ("z3-solver", "z3"), "cvc5": ("cvc5", "cvc5")}
