"""Models as files that run without their Python code.

In: a `certvq.models.VQVAE`. Out: modules for `torch.export` and AOTInductor, and ONNX files, with
the certified search as an operator of their own. Must not train or read data. Loads torch only
where a model is exported: files run without it.
"""

from typing import TYPE_CHECKING, Any

from certvq.export._session import onnx_session as onnx_session

if TYPE_CHECKING:
    from certvq.export._graphs import DecodeGraph as DecodeGraph
    from certvq.export._graphs import EncodeGraph as EncodeGraph
    from certvq.export._onnx import export_onnx as export_onnx

_FROM_TORCH = ("DecodeGraph", "EncodeGraph", "export_onnx")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM_TORCH})


def __getattr__(name: str) -> Any:
    if name in {"DecodeGraph", "EncodeGraph"}:
        from certvq.export import _graphs

        return getattr(_graphs, name)
    if name == "export_onnx":
        from certvq.export._onnx import export_onnx

        return export_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
