"""Write the table of docs/compile.md that says which layer goes where.

Every cell is tried: a layer is compiled or exported with a free batch axis, run on a batch of
another size and compared with the layer itself. `python docs/make_export_table.py` writes the table
anew; tests/repo/test_exports.py compares.
"""

import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch._dynamo.exc import Unsupported

from certvq import nn
from certvq.compat import vector_quantize_pytorch as vq
from certvq.errors import ExportError
from certvq.export import onnx_session

PAGE = Path(__file__).parent / "compile.md"
START, END = "<!-- exports: start -->\n", "<!-- exports: end -->\n"
ROUTES = ("torch.compile", "torch.export", "ONNX, dynamo", "ONNX, TorchScript", "torch.jit.trace")
HALVES = ("encode", "decode")
VQ: dict[str, Any] = {"dim": 4, "codebook_size": 6}
LAYERS: dict[str, Callable[[], Any]] = {
    "VectorQuantize": lambda: nn.VectorQuantize(4, 6),
    "VectorQuantize, cosine": lambda: nn.VectorQuantize(4, 6, metric="cosine"),
    "Heads": lambda: nn.Heads(nn.VectorQuantize(2, 6), 2),
    "Project": lambda: nn.Project(nn.VectorQuantize(3, 6), 4),
    "ProductQuantize": lambda: nn.ProductQuantize([nn.VectorQuantize(2, 5) for _ in range(2)]),
    "ResidualVQ": lambda: nn.ResidualVQ(4, 6, num_quantizers=2),
    "ResidualVQ with a Beam": lambda: nn.ResidualVQ(4, 6, num_quantizers=2, beam=nn.Beam(2)),
    "ResidualVQ with Neural levels": lambda: nn.ResidualVQ(
        4, 6, num_quantizers=2, neural=nn.Neural(depth=1, hidden=5)
    ),
    "GroupedResidualVQ": lambda: nn.GroupedResidualVQ(4, 6, groups=2, num_quantizers=2),
    "HierarchicalVQ": lambda: nn.HierarchicalVQ(4, 6, (1, 5), layout="b n d"),
    "SimVQ": lambda: nn.SimVQ(4, 6),
    "ResidualSimVQ": lambda: nn.ResidualSimVQ(4, 6, num_quantizers=2),
    "RandomProjectionQuantizer": lambda: nn.RandomProjectionQuantizer(4, 6, 3),
    "FSQ": lambda: nn.FSQ((8, 5, 4, 40)),
    "ResidualFSQ": lambda: nn.ResidualFSQ((8, 5, 2, 3), 2),
    "GroupedResidualFSQ": lambda: nn.GroupedResidualFSQ((5, 4), 2, groups=2),
    "LFQ": lambda: nn.LFQ(4, spherical=True, commitment_weight=0.25),
    "ResidualLFQ": lambda: nn.ResidualLFQ(4, 2),
    "GroupedResidualLFQ": lambda: nn.GroupedResidualLFQ(4, 2, groups=2),
    "LatentQuantize": lambda: nn.LatentQuantize((8, 5, 1, 3)),
    "BinaryMapper": lambda: nn.BinaryMapper(4),
    "FSP": lambda: nn.FSP((3, 4, 2, 7)),
    "Scaled": lambda: nn.Scaled(nn.FSQ((8, 5, 5, 3)), (0.5, 3.0, 1.0, 0.1)),
    "Rotated": lambda: nn.Rotated(nn.FSQ((8, 5, 5, 3))),
    "compat.VectorQuantize": lambda: vq.VectorQuantize(**VQ, heads=2, codebook_dim=3),
    "compat.ResidualVQ": lambda: vq.ResidualVQ(**VQ, num_quantizers=2, codebook_dim=3),
    "compat.GroupedResidualVQ": lambda: vq.GroupedResidualVQ(**VQ, num_quantizers=2, groups=2),
    "compat.RandomProjectionQuantizer": lambda: vq.RandomProjectionQuantizer(**VQ, codebook_dim=3),
    "compat.HierarchicalVQ": lambda: vq.HierarchicalVQ(**VQ, scales=[1, 5], channel_first=False),
    "compat.SimVQ": lambda: vq.SimVQ(**VQ),
    "compat.ResidualSimVQ": lambda: vq.ResidualSimVQ(**VQ, num_quantizers=2),
    "compat.FSQ": lambda: vq.FSQ(levels=[5, 4, 3], dim=4),
    "compat.ResidualFSQ": lambda: vq.ResidualFSQ(levels=[5, 4, 3], dim=4, num_quantizers=2),
    "compat.GroupedResidualFSQ": lambda: vq.GroupedResidualFSQ(
        levels=[5, 3], dim=4, groups=2, num_quantizers=2
    ),
    "compat.FSP": lambda: vq.FSP(levels=[5, 4, 3], dim=4),
    "compat.LFQ": lambda: vq.LFQ(dim=4, codebook_size=8),
    "compat.ResidualLFQ": lambda: vq.ResidualLFQ(dim=4, codebook_size=8, num_quantizers=2),
    "compat.GroupedResidualLFQ": lambda: vq.GroupedResidualLFQ(
        dim=4, codebook_size=4, num_quantizers=2, groups=2
    ),
    "compat.LatentQuantize": lambda: vq.LatentQuantize(levels=[5, 4, 3], dim=5),
    "compat.BinaryMapper": lambda: vq.BinaryMapper(bits=4, deterministic_on_eval=True),
}
"""Small layers, one for each way of searching or looking up, whose latents are (b, 5, 4)."""

DECODERS = ("decode", "get_output_from_indices", "indices_to_codes")


class Half(torch.nn.Module):
    """One half of a layer: what `forward` and `encode` give for latents, or vectors for codes."""

    def __init__(self, layer: torch.nn.Module, half: str) -> None:
        super().__init__()
        self.layer, self.which = layer, half
        self.sizes = [1, 5] if isinstance(layer, vq.HierarchicalVQ) else None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return all tensors that the half gives."""
        layer: Any = self.layer
        if self.which == "decode":
            given: Any = x if self.sizes is None else x.split(self.sizes, dim=1)
            return (getattr(layer, decoder_of(layer))(given),)
        found = layer(x)
        found = found if isinstance(found, tuple) else (found,)
        own = (layer.encode(x),) if isinstance(layer, nn.BaseQuantizer) else ()
        return tuple(each for each in (*found, *own) if isinstance(each, torch.Tensor))


def decoder_of(layer: torch.nn.Module) -> str:
    """Return the name of the method that turns codes into vectors; "" if there is none."""
    return next((name for name in DECODERS if hasattr(layer, name)), "")


def latents(batch: int, seed: int) -> torch.Tensor:
    """Draw latents (batch, 5, 4)."""
    return torch.randn(batch, 5, 4, generator=torch.Generator().manual_seed(seed))


def cell(name: str, half: str, route: str) -> str:
    """Try one cell.

    Returns:
        "yes": standard operators; "search": with the certified search as an operator of its own;
        "pieces": compiled, but not as one graph; "error": `ExportError`; "-": no such method.
    """
    torch.manual_seed(0)
    layer = LAYERS[name]()
    for seed in range(2):
        layer(latents(4, seed))
    layer.eval()
    inputs = [latents(batch, 9) for batch in (3, 6)]
    if half == "decode":
        if not decoder_of(layer):
            return "-"
        inputs = [codes_of(layer(x)) for x in inputs]
    module = Half(layer, half).eval()
    with quiet():
        expected = [each.detach().numpy() for each in module(inputs[1])]
        try:
            found, word = _WAYS[route](module, *inputs)
        except Exception as error:
            if not named(error):
                raise
            return "error"
    for left, right in zip(expected, found, strict=True):
        assert left.shape == right.shape, (name, half, route)
        exact = left.dtype.kind in "biu"
        same = np.array_equal(left, right) if exact else np.allclose(left, right, atol=1e-5)
        assert same, (name, half, route, left, right)
    return word


def codes_of(found: Any) -> torch.Tensor:
    """Return the codes among what a forward pass returned; those of all scales in one tensor."""
    return torch.cat(found[1], dim=1) if isinstance(found[1], tuple) else found[1]


def named(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is an `ExportError`."""
    while error is not None:
        if isinstance(error, ExportError):
            return True
        error = error.__cause__ or error.__context__
    return False


def free_axis(first: torch.Tensor, other: torch.Tensor) -> int:
    """Return the axis of the batch: the first one, or the second one behind one for groups."""
    return next(axis for axis, size in enumerate(first.shape) if size != other.shape[axis])


Outcome = tuple[list[Any], str]


def compiled(module: Half, first: torch.Tensor, other: torch.Tensor) -> Outcome:
    """Compile as one graph, else in pieces."""
    for whole in (True, False):
        torch.compiler.reset()
        program = torch.compile(module, fullgraph=whole, backend="eager")
        try:
            program(first)
            found = program(other)
        except Unsupported:
            if whole:
                continue
            raise
        return [each.detach().numpy() for each in found], "yes" if whole else "pieces"
    raise AssertionError


def exported(module: Half, first: torch.Tensor, other: torch.Tensor) -> Outcome:
    """Export with a free batch axis."""
    axes = ({free_axis(first, other): torch.export.Dim("batch", min=2)},)
    program = torch.export.export(module, (first,), dynamic_shapes=axes)
    found = program.module()(other)
    return [each.detach().numpy() for each in found], "yes"


def traced(module: Half, first: torch.Tensor, other: torch.Tensor) -> Outcome:
    """Trace, save, load and run."""
    file = io.BytesIO()
    graph: Any = torch.jit.trace(module, (first,), check_trace=False)
    torch.jit.save(graph, file)
    file.seek(0)
    found = torch.jit.load(file)(other)
    word = "search" if "certvq::assign" in str(graph.inlined_graph) else "yes"
    return [each.detach().numpy() for each in found], word


def to_onnx(module: Half, first: torch.Tensor, other: torch.Tensor, *, dynamo: bool) -> Outcome:
    """Export to ONNX and run with ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        free = free_axis(first, other)
        if dynamo:
            axes: dict[str, Any] = {"dynamic_shapes": ({free: torch.export.Dim("batch", min=2)},)}
        else:
            axes = {"input_names": ["x"], "dynamic_axes": {"x": {free: "batch"}}}
        torch.onnx.export(module, (first,), str(path), dynamo=dynamo, verbose=False, **axes)
        domains = {node.domain for node in onnx.load(path).graph.node}
        session = onnx_session(path)
        found = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    return list(found), "search" if "ai.onnx.contrib" in domains else "yes"


_WAYS: dict[str, Callable[..., Outcome]] = {
    "torch.compile": compiled,
    "torch.export": exported,
    "ONNX, dynamo": lambda *given: to_onnx(*given, dynamo=True),
    "ONNX, TorchScript": lambda *given: to_onnx(*given, dynamo=False),
    "torch.jit.trace": traced,
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters print and warn of themselves."""
    logging.disable(logging.ERROR)
    silent = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(silent), redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def row(name: str) -> str:
    """Try all cells of a layer, and return its row."""
    cells = [[cell(name, half, route) for half in HALVES] for route in ROUTES]
    shown = [both[0] if both[0] == both[1] else " / ".join(both) for both in cells]
    return f"| {name} | {' | '.join(shown)} |\n"


def table() -> dict[str, str]:
    """Return the rows of the page by the names of their layers."""
    text = PAGE.read_text(encoding="utf-8")
    inside = text.partition(START)[2].partition(END)[0]
    rows = inside.splitlines(keepends=True)[2:]
    return {line.split("|")[1].strip(): line for line in rows}


def write() -> None:
    """Write the table anew."""
    head = f"| layer | {' | '.join(ROUTES)} |\n|---|{'---|' * len(ROUTES)}\n"
    lines = []
    for name in LAYERS:
        lines.append(row(name))
        sys.stderr.write(lines[-1])
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(before + START + head + "".join(lines) + END + after, encoding="utf-8")


if __name__ == "__main__":
    write()
