"""Run a model over data without leaving a trace in it.

In: a torch module and data. Out: the module's own calls, watched. Must not look at the numbers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from certvq.inspect._argmin.site import Observer, Site, install, site_of
from certvq.inspect._libraries.find import Layer


def watching(layer: Layer, observe: Observer) -> Site:
    """Return a site that watches a layer as it is, patched or not."""
    patched = site_of(layer.module, layer.adapter)
    inner = layer.module.__dict__.get(layer.adapter.method) if patched is None else patched.inner
    return Site(
        layer.name,
        layer.module,
        layer.adapter,
        inner=inner,
        certify=patched is not None,
        observe=observe,
    )


@contextmanager
def watched(layer: Layer, observe: Observer) -> Iterator[None]:
    """Watch a layer as it is, patched or not, and take the watch off again."""
    own = vars(layer.module)
    adapter = layer.adapter
    names = (adapter.method, *adapter.helpers(), *adapter.other_methods(layer.module))
    before = {name: own[name] for name in names if name in own}
    install(watching(layer, observe))
    try:
        yield
    finally:
        for name in names:
            own.pop(name, None)
        own.update(before)


def run_model(module: Any, batch: Any) -> object:
    """Call a module with a batch, by name if it is a dict."""
    return module(**batch) if isinstance(batch, Mapping) else module(batch)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode, and each of its parts back into its own."""
    flags = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, training in flags:
            each.training = training


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Give a quantizer its methods and its numbers back; some change these in eval mode too."""
    own = [(each, dict(each.__dict__)) for each in module.modules()]
    tables = [names[kind] for _, names in own for kind in ("_buffers", "_parameters")]
    kept = [
        [(key, tensor, None if tensor is None else tensor.detach().clone()) for key, tensor in t]
        for t in (table.items() for table in tables)
    ]
    try:
        yield
    finally:
        for each, names in own:
            each.__dict__.clear()
            each.__dict__.update(names)
        for table, values in zip(tables, kept, strict=True):
            table.clear()
            for key, tensor, numbers in values:
                table[key] = tensor
                if numbers is not None and not torch.equal(tensor, numbers):
                    tensor.data.copy_(numbers)
