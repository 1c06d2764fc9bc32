"""Write models as ONNX.

In: a `VQVAE` in eval mode. Out: ``encoder.onnx``, whose search is the operator `CertVQAssign`, and
``decoder.onnx``, which holds standard operators only. Must not run what it wrote.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from certvq._files.atomic import atomic_path
from certvq.assign._onnx import ASSIGN, DOMAIN
from certvq.errors import BackendUnavailableError, OptionError
from certvq.export._graphs import DecodeGraph, EncodeGraph
from certvq.models import VQVAE

_TOKENS = 3
"""Tokens along each axis of the example that is traced; all three axes stay free."""


def export_onnx(model: VQVAE, directory: str | Path) -> None:
    """Write ``encoder.onnx`` and ``decoder.onnx``.

    Args:
        model: in eval mode, of float32 numbers; its dropout and statistics are those of eval mode.
        directory: created if need be; files of these names are replaced.

    Raises:
        OptionError: the model is in train mode, its numbers are not float32, or its quantizer is
            not ``"vq"``.
        BackendUnavailableError: onnx or onnxscript is not installed.
        OSError: the files cannot be written.

    Guarantee: the codes of ``encoder.onnx``, run by `onnx_session`, are the lowest nearest ones to
    the latents that the runtime computes, by `certvq.assign`. The latents, and the images of
    ``decoder.onnx``, are those of the runtime's arithmetic and may differ from torch's in their
    last bits. The decoder turns a negative code, which ONNX would count from the end, into one that
    is out of bounds; what happens with codes out of bounds is up to the runtime (ONNX Runtime
    refuses them).

    Shapes: images (B, channels, H, W), H and W multiples of the stride and at least two strides;
    codes (B, H / stride, W / stride) int64.

    References:
        ONNX operators in Python: onnxruntime-extensions, ``ai.onnx.contrib``.
    """
    if model.training:
        text = "model must be in eval mode to be exported; call model.eval()"
        raise OptionError(text)
    codebook = model.only_codebook("export_onnx")
    numbers = {p.dtype for p in model.parameters()} | {codebook.dtype}
    if numbers != {torch.float32}:
        names = sorted(str(number).removeprefix("torch.") for number in numbers)
        text = f"model must hold float32 numbers to be exported, got {names}; call model.float()"
        raise OptionError(text)
    operators = _operators()
    stride = model.config.downsampling
    batch, rows, columns = (torch.export.Dim(name, min=2) for name in ("batch", "rows", "columns"))
    images = torch.zeros(_TOKENS, model.config.channels, _TOKENS * stride, _TOKENS * stride)
    codes = torch.zeros(_TOKENS, _TOKENS, _TOKENS, dtype=torch.int64)
    folder = Path(directory)
    _write(
        EncodeGraph(model),
        images,
        {0: batch, 2: stride * rows, 3: stride * columns},
        folder / "encoder.onnx",
        operators,
    )
    _write(
        DecodeGraph(model),
        codes,
        {0: batch, 1: rows, 2: columns},
        folder / "decoder.onnx",
        operators,
    )


def _write(
    graph: nn.Module,
    example: torch.Tensor,
    axes: dict[int, Any],
    path: Path,
    operators: dict[Any, Callable[..., Any]],
) -> None:
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (example.to(next(graph.parameters()).device),),
            dynamo=True,
            dynamic_shapes=(axes,),
            custom_translation_table=operators,
            verbose=False,
        )
    assert program is not None
    with atomic_path(path) as partial:
        program.save(partial)


@cache
def _operators() -> dict[Any, Callable[..., Any]]:
    """Say what stands for our operators in a graph; declare the search to ONNX."""
    try:
        import onnx
        from onnxscript import opset18
        from onnxscript.values import Opset
    except ImportError as error:
        text = (
            f"writing ONNX files needs {error.name}, which is not installed; "
            "pip install 'certvq[onnx]'"
        )
        raise BackendUnavailableError(text) from error
    if not onnx.defs.has(ASSIGN, 1, DOMAIN):
        onnx.defs.register_schema(_schema(onnx))
    domain = Opset(DOMAIN, 1)

    def search(latents: Any, codebook: Any) -> Any:
        return getattr(domain, ASSIGN)(latents, codebook)

    def in_range(codes: Any, highest: Any) -> Any:
        del highest
        standard: Any = opset18
        zero, beyond = standard.Constant(value_int=0), standard.Constant(value_int=2**31)
        return standard.Where(standard.Less(codes, zero), beyond, codes)

    return {
        torch.ops.certvq.assign.default: search,
        torch.ops.certvq.in_range.default: in_range,
    }


def _schema(onnx: Any) -> Any:
    field = onnx.defs.OpSchema.FormalParameter
    return onnx.defs.OpSchema(
        ASSIGN,
        DOMAIN,
        1,
        inputs=[field("latents", "tensor(float)"), field("codebook", "tensor(float)")],
        outputs=[
            field("codes", "tensor(int64)"),
            field("decided_by", "tensor(uint8)"),
            field("sqdist", "tensor(double)"),
        ],
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from reporting what its user did not ask for and cannot change."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
