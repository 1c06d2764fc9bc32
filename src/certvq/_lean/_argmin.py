"""The proved argmin, run in Lean.

In: packed latents and codebooks. Out: codes. One run of Lean checks the theorems of
`CertVQ/Program.lean` and evaluates, in the same text, the function that they are about. Must not
compute a distance itself.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from certvq._lean._packing import Packed, define_list
from certvq._lean._project import one_text, project_files, project_folder
from certvq._lean._run import Lean, LeanRun, find_lean, run_lean
from certvq.errors import LeanError

_ROWS: Final = 128
"""Latents of one evaluation; the function recurses once for each."""


def run_argmin(problems: Sequence[Packed], *, lean: Lean | None = None) -> list[list[int]]:
    """Find the lowest nearest codes of several problems in one run of Lean.

    Args:
        problems: each with at least one code vector.
        lean: which Lean; `find_lean` by default.

    Returns:
        For each problem one code for each latent.

    Raises:
        LeanUnavailableError: there is no Lean, or its sources are missing.
        LeanError: Lean refused a proof, crashed, took too long, or printed something else than
            codes.

    Guarantee: ``codesOf_isLowestNearestCode``, which the same run checks; that the evaluation
    computes the function of the theorem is Lean's own promise.
    Cost: a run of Lean, about half a minute, whatever the number of problems; then some
    microseconds for each coordinate of each pair.
    """
    lean = lean or find_lean()
    program, _ = one_text(project_files(project_folder(), "CertVQ.Program"))
    lines = [*program.splitlines(), "set_option maxRecDepth 1000000"]
    places: list[tuple[int, int, int]] = []
    for index, problem in enumerate(problems):
        lines += define_list(f"codebook{index}of", problem.codebook)
        for start, part in _parts(problem.latents):
            call = f"{problem.bits} {problem.dim} codebook{index}of [{', '.join(map(hex, part))}]"
            lines.append(f"#eval CertVQ.codesOf {call}")
            places.append((len(lines), index, start))
    run = run_lean(lean, "\n".join([*lines, ""]))
    return _codes(run, places, problems)


def _codes(
    run: LeanRun, places: Sequence[tuple[int, int, int]], problems: Sequence[Packed]
) -> list[list[int]]:
    """Read the codes off the lines that evaluate, and accept nothing else."""
    complaints = [m for m in run.messages if m.severity != "information"]
    if complaints:
        text = f"Lean does not accept the argmin (line {complaints[0].line}): {complaints[0].text}"
        raise LeanError(text[:600])
    said = {message.line: message.text for message in run.messages}
    codes: list[list[int]] = [[] for _ in problems]
    for line, index, start in places:
        found = _integers(said.get(line, ""))
        problem = problems[index]
        count, size = min(_ROWS, len(problem.latents) - start), len(problem.codebook)
        if found is None or len(found) != count or not all(0 <= code < size for code in found):
            raise LeanError(
                f"Lean must print {count} codes in range({size}), came {said.get(line, '')[:200]!r}"
            )
        codes[index] += found
    return codes


def _integers(text: str) -> list[int] | None:
    """Read a list of integers, None where the text is none."""
    try:
        read: Any = json.loads(text)
    except json.JSONDecodeError:
        return None
    is_list = isinstance(read, list) and all(type(entry) is int for entry in read)
    return read if is_list else None


def _parts(latents: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    for start in range(0, len(latents), _ROWS):
        yield start, latents[start : start + _ROWS]
