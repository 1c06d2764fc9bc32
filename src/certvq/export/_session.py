"""Run exported models: ONNX Runtime with the certified search as a custom operator.

In: a file that `export_onnx` wrote. Out: an ``onnxruntime.InferenceSession``. Must not import
torch.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from certvq.assign import assign
from certvq.assign._onnx import ASSIGN, NO_CODE
from certvq.errors import BackendUnavailableError, FloatEnvironmentError

if TYPE_CHECKING:
    import onnxruntime

_FLUSH = "session.set_denormal_as_zero"


class _Refusals:
    """Errors of the operator, by the thread that it ran in.

    No exception may leave the operator: it would end the process on its way through C++.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[int, BaseException] = {}

    def keep(self, error: BaseException) -> None:
        with self._lock:
            self._latest[threading.get_ident()] = error

    def take(self, *, of_others: bool = False) -> BaseException | None:
        with self._lock:
            error = self._latest.pop(threading.get_ident(), None)
            if error is None and of_others and self._latest:
                error = self._latest.popitem()[1]
        return error


_refusals = _Refusals()


def onnx_session(path: str | Path, **options: Any) -> "onnxruntime.InferenceSession":
    """Open an exported model.

    Args:
        path: a file that `export_onnx` wrote, or ``torch.onnx.export`` of a layer.
        options: of ``onnxruntime.InferenceSession``, for example ``providers``.

    Returns:
        The session; its codes come from `certvq.assign`, and its `run` raises what that raises: a
        NaN in the latents is a `NonFiniteError`. The session can be used on.

    Raises:
        BackendUnavailableError: onnxruntime or onnxruntime-extensions is not installed.
        FileNotFoundError: no such file.
        FloatEnvironmentError: the options ask for subnormal numbers to be flushed to zero.

    Guarantee: a session of onnxruntime alone, which has the operator where `onnx_session` was
    called before in the process, never returns wrong codes for latents that are refused: the
    operator gives one row too many there, of codes that no table has, and ONNX Runtime refuses to
    reshape or to look them up.
    """
    try:
        import onnxruntime
        from onnxruntime_extensions import get_library_path
    except ImportError as error:
        text = (
            f"running ONNX files needs {error.name}, which is not installed; "
            "pip install 'certvq[onnx]'"
        )
        raise BackendUnavailableError(text) from error
    if not Path(path).is_file():
        raise FileNotFoundError(path)
    _register()
    settings = options.pop("sess_options", None) or onnxruntime.SessionOptions()
    _require_subnormals(settings)
    settings.register_custom_ops_library(get_library_path())
    return _session_class()(str(path), settings, **options)


def _require_subnormals(settings: Any) -> None:
    try:
        flushed = settings.get_session_config_entry(_FLUSH) == "1"
    except RuntimeError:  # there is no such entry
        return
    if flushed:
        text = (
            "certified codes need subnormal numbers, got session options with "
            f"{_FLUSH!r}, which flushes them to zero in this whole thread; leave it out"
        )
        raise FloatEnvironmentError(text)


@cache
def _session_class() -> Any:
    import onnxruntime

    class Session(onnxruntime.InferenceSession):
        """A session whose runs raise what the search raised."""

        def run(self, *given: Any, **named: Any) -> Any:
            with _raising():
                return super().run(*given, **named)

        def run_with_ort_values(self, *given: Any, **named: Any) -> Any:
            with _raising():
                return super().run_with_ort_values(*given, **named)

        def run_with_iobinding(self, *given: Any, **named: Any) -> Any:
            with _raising():
                return super().run_with_iobinding(*given, **named)

    return Session


@contextmanager
def _raising() -> Iterator[None]:
    """Raise what the operator refused in a run; a parallel run has it in threads of its own."""
    _refusals.take()
    try:
        yield
    except Exception:
        refused = _refusals.take(of_others=True)
        if refused is None:
            raise
    else:
        refused = _refusals.take()
    if refused is not None:
        raise refused


@cache
def _register() -> None:
    from onnxruntime_extensions import PyCustomOpDef, onnx_op

    @onnx_op(
        op_type=ASSIGN,
        inputs=[PyCustomOpDef.dt_float, PyCustomOpDef.dt_float],
        outputs=[PyCustomOpDef.dt_int64, PyCustomOpDef.dt_uint8, PyCustomOpDef.dt_double],
    )
    def search(latents: np.ndarray, codebook: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            found = assign(latents, codebook)
        except BaseException as error:  # noqa: BLE001 (what leaves here ends the process)
            _refusals.keep(error)
            rows = len(latents) + 1
            return np.full(rows, NO_CODE), np.zeros(rows, np.uint8), np.full(rows, np.nan)
        return found.codes, found.decided_by, found.sqdist
