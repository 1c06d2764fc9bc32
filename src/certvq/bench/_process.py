"""A search in a process of its own, whose environment differs.

In: a function that prepares a search, a codebook, environment variables. Out: codes, with the
seconds that the other process counted. Must not know which library it runs.
"""

import os
import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from certvq._native import thread_count
from certvq._types import Array
from certvq.bench._contender import Prepare
from certvq.bench._data import Float32Array
from certvq.bench._threads import thread_limit


class Elsewhere:
    """A search that another process prepared and runs.

    Args:
        prepare: takes the codebook, returns the search; it is pickled.
        codebook: float32 (K, D).
        environment: variables that the other process gets beside those of this one.

    Raises:
        RuntimeError: the other process failed or ended; the text is its own.
    """

    def __init__(
        self,
        prepare: Prepare,
        codebook: Float32Array,
        *,
        environment: Mapping[str, str],
    ) -> None:
        command = [sys.executable, "-c", f"from {__name__} import main; main()"]
        self._process = subprocess.Popen(  # noqa: S603 (this module itself)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        weakref.finalize(self, _stop, self._process)
        self._latents: Float32Array | None = None
        self._ask((prepare, codebook))

    def __call__(self, latents: Float32Array) -> Array:
        return self.timed(latents)[1]

    def timed(self, latents: Float32Array) -> tuple[float, Array]:
        """Search once; return seconds, without the way there and back, and codes."""
        if latents is not self._latents:
            self._ask(latents)
            self._latents = latents
        return self._ask(None)

    def _ask(self, question: Any) -> tuple[float, Array]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, question)
            answer = pickle.load(self._process.stdout)  # noqa: S301 (of this module itself)
        except (OSError, EOFError) as error:
            raise RuntimeError(f"the other process has ended: {error}") from error
        if isinstance(answer, str):
            raise RuntimeError(answer)  # noqa: TRY004 (what the other process raised)
        return answer


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Prepare the search of the first question; keep latents, and search at each None."""
    try:
        prepare, codebook = pickle.load(questions)  # noqa: S301 (from `Elsewhere`)
        latents = codebook[:1]
        prepare(latents)(latents)  # imports the library, so that its threads can be limited
        with thread_limit(thread_count()):
            search = prepare(codebook)
            _send(answers, (0.0, None))
            while True:
                question = pickle.load(questions)  # noqa: S301 (likewise)
                if question is not None:
                    latents = question
                    _send(answers, (0.0, None))
                    continue
                start = time.perf_counter()
                codes = search(latents)
                _send(answers, (time.perf_counter() - start, codes))
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 (whatever another library raises is reported)
        _send(answers, f"{type(error).__name__}: {error}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(OSError):  # what was still to be sent
            pipe.close()
    process.wait()


def _send(pipe: IO[bytes], message: Any) -> None:
    pickle.dump(message, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def main() -> None:
    """Serve on standard input and output."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        serve(sys.stdin.buffer, answers)
