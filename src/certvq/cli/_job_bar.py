"""How far a job is: one bar on a terminal, a line every ten seconds elsewhere, or JSON lines.

In: states of a job. Out: text on standard error; JSON on standard output. Must not import torch.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from certvq._files.json import dumps
from certvq.cli._errors import note

_PERIOD = 10.0  # seconds between two lines


@contextmanager
def job_bar(*, as_json: bool = False) -> Iterator[Callable[[Any], None]]:
    """Give a function to report a `certvq.tokenize.State` to.

    Args:
        as_json: print a JSON line on standard output for each part that is finished.
    """
    console, begun = Console(stderr=True), time.monotonic()
    said = begun

    def text(state: Any) -> str:
        rate = state.inputs / max(time.monotonic() - begun, 1e-9)
        return (
            f"{state.inputs} inputs, {rate:.3g}/s, {state.failed} failed, "
            f"part {state.parts}/{state.of_parts} ({state.skipped} skipped)"
        )

    columns = (
        TextColumn("tokenizing"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as display:
        bar = display.add_task("", total=None)

        def report(state: Any) -> None:
            nonlocal said
            if as_json and state.part is not None:
                print(dumps(_line(state)), flush=True)  # noqa: T201 (standard output is for these)
            if console.is_terminal:
                done = min(state.bytes, state.of_bytes)
                display.update(bar, completed=done, total=state.of_bytes, description=text(state))
            elif time.monotonic() - said >= _PERIOD:
                said = time.monotonic()
                share = state.bytes / max(state.of_bytes, 1)
                note(f"{share:.0%}, {text(state)}")

        yield report


def _line(state: Any) -> dict[str, Any]:
    part = state.part
    return {
        "part": part.name,
        "rows": part.rows,
        "tokens": part.tokens,
        "failed": len(part.failed),
        "sha256": part.sha256,
        "parts": state.parts,
        "of_parts": state.of_parts,
    }
