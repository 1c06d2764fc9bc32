"""Run exported models: ONNX Runtime with the certified search as a custom operator.

In: a file that `export_onnx` wrote. Out: an ``onnxruntime.InferenceSession``. Must not import
torch.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from certvq.assign import assign
from certvq.errors import BackendUnavailableError

if TYPE_CHECKING:
    import onnxruntime

ASSIGN = "CertVQAssign"
"""Name of the operator in the graph."""

DOMAIN = "ai.onnx.contrib"
"""Its domain, that of operators written in Python."""


def onnx_session(path: str | Path, **options: Any) -> "onnxruntime.InferenceSession":
    """Open an exported model.

    Args:
        path: a file that `export_onnx` wrote.
        options: of ``onnxruntime.InferenceSession``, for example ``providers``.

    Returns:
        The session; its codes come from `certvq.assign`.

    Raises:
        BackendUnavailableError: onnxruntime or onnxruntime-extensions is not installed.
        FileNotFoundError: no such file.
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
    settings.register_custom_ops_library(get_library_path())
    return onnxruntime.InferenceSession(str(path), settings, **options)


@cache
def _register() -> None:
    from onnxruntime_extensions import PyCustomOpDef, onnx_op

    @onnx_op(
        op_type=ASSIGN,
        inputs=[PyCustomOpDef.dt_float, PyCustomOpDef.dt_float],
        outputs=[PyCustomOpDef.dt_int64, PyCustomOpDef.dt_uint8, PyCustomOpDef.dt_double],
    )
    def search(latents: np.ndarray, codebook: np.ndarray) -> tuple[np.ndarray, ...]:
        found = assign(latents, codebook)
        return found.codes, found.decided_by, found.sqdist
