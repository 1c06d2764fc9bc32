"""One run of the solvers: which ones, how long, what they said, and what is kept of it.

In: SMT-LIB scripts. Out: nothing where every solver says unsat, else the error that says why not.
Must not import the kernel.
"""

import re
import tempfile
from functools import cache
from pathlib import Path

from certvq._files.atomic import atomic_path
from certvq.errors import ProofError, SolverDisagreementError
from certvq.theory._solvers import Answer, require_solvers

QUERY_SECONDS = 5.0
"""Limit of one query of one solver."""


class Trial:
    """The solvers of a run.

    Attributes:
        solvers: their names.
        proving: the theorem that is being proved, for messages and file names.
        seconds: limit of one query of one solver.
        answers: what they said so far.

    Args:
        solvers: their names.
        seconds: limit of one query of one solver.
        folder: where open queries are kept; a private one of the temporary folder by default.
    """

    def __init__(
        self,
        solvers: tuple[str, ...],
        *,
        seconds: float = QUERY_SECONDS,
        folder: Path | None = None,
    ) -> None:
        self.solvers = require_solvers(solvers)
        self.proving = "query"
        self.answers: list[Answer] = []
        self.seconds = seconds
        self._folder = folder

    def report(self, script: str, answers: list[Answer]) -> None:
        """Keep the answers to a query; say what is wrong where they are not all unsat.

        Raises:
            SolverDisagreementError: one solver says sat, another unsat.
            ProofError: not all say unsat; with the countermodel, or the path of the query.
        """
        self.answers += answers
        if all(answer.status == "unsat" for answer in answers):
            return
        said = ", ".join(f"{answer.solver}: {answer.status}" for answer in answers)
        path = self._keep(script)
        model = next((answer.model for answer in answers if answer.status == "sat"), "")
        kinds = {answer.status for answer in answers}
        if {"sat", "unsat"} <= kinds:
            raise SolverDisagreementError(
                f"{self.proving}: the solvers contradict each other ({said}); the query is in "
                f"{path}: report it",
                countermodel=model,
                smt2=path,
            )
        if model:
            raise ProofError(
                f"{self.proving} does not follow ({said}); the query is in {path}; "
                f"countermodel: {model}",
                countermodel=model,
                smt2=path,
            )
        raise ProofError(
            f"{self.proving} was not decided within {self.seconds:g} s ({said}); the query is in "
            f"{path}",
            smt2=path,
        )

    def _keep(self, script: str) -> Path:
        folder = self._folder or _private_folder()
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "_", self.proving)
        path = folder / f"{name}-{len(self.answers)}.smt2"
        with atomic_path(path) as temporary:
            temporary.write_text(script, encoding="utf-8")
        return path


@cache
def _private_folder() -> Path:
    """Make a folder that nobody else can have made, or read."""
    return Path(tempfile.mkdtemp(prefix="certvq-open-queries-"))
