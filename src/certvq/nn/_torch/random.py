"""Random choices that are the same on every device.

In: a `torch.Generator` or None, torch's default one. Out: numbers drawn on the generator's own
device and moved to where they are needed. Must not know what they are for.
"""

import itertools
import weakref
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from certvq.nn._torch.device import default_device
from certvq.nn._torch.modes import brought, widest
from certvq.nn._torch.transaction import drew

_Function = TypeVar("_Function", bound=Callable[..., int])


def uniform(count: int, generator: torch.Generator | None, device: torch.device) -> torch.Tensor:
    """Draw `count` numbers of [0, 1), float64; float32 where one of the devices has none."""
    return _draw("uniform", (count,), generator, device)


def start(module: nn.Module, spread: float, generator: torch.Generator | None) -> None:
    """Give each parameter of a module on meta uniform numbers of [-spread, spread).

    They become other tensors: `torch.nn.Module.to_empty` fails where tensors have shapes alone.
    """
    device = default_device()
    for name, empty in [*module.named_parameters(recurse=False)]:
        unit = uniform(empty.numel(), generator, device)
        drawn = (spread * (2.0 * unit - 1.0)).reshape(empty.shape)
        setattr(module, name, nn.Parameter(drawn.to(empty.dtype)))


def normal(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    """Draw standard normal numbers, float64; float32 where one of the devices has none."""
    return _draw("normal", shape, generator, device)


def permutation(
    count: int, generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    """Draw a permutation of ``range(count)``, int64."""
    return _draw("permutation", (count,), generator, device, dtype=torch.int64)


def integers(
    below: int, count: int, generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    """Draw `count` integers of ``range(below)``, int64."""
    return _draw("integers", (count,), generator, device, dtype=torch.int64, below=below)


def exponential(
    shape: tuple[int, ...],
    generator: torch.Generator | None,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Draw exponential numbers of mean one.

    There is one for each latent and code where codes are sampled, so that without a generator they
    are drawn where they are needed, by the default generator of that device.
    """
    return _draw("exponential", shape, generator, device, dtype=dtype)


def _draw(
    kind: str,
    shape: tuple[int, ...],
    generator: torch.Generator | None,
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float64,
    below: int = 0,
) -> torch.Tensor:
    if torch.compiler.is_compiling():  # which follow neither generators nor sizes that vary here
        source, place = _number(generator), _place()
        return torch.ops.certvq.draw(kind, shape, below, source, place, device, dtype)
    drew()
    return _drawn(kind, shape, below, generator, device, dtype)


def _drawn(
    kind: str,
    shape: tuple[int, ...],
    below: int,
    generator: torch.Generator | None,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    home = torch.device("cpu") if generator is None else generator.device
    dtype = widest(home) if dtype == torch.float64 else dtype
    if kind == "exponential":
        home = device if generator is None else home
        drawn = torch.empty(shape, dtype=dtype, device=home).exponential_(generator=generator)
    elif kind == "uniform":
        drawn = torch.rand(shape, generator=generator, device=home, dtype=dtype)
    elif kind == "normal":
        drawn = torch.randn(shape, generator=generator, device=home, dtype=dtype)
    elif kind == "integers":
        drawn = torch.randint(below, shape, generator=generator, device=home)
    else:
        drawn = torch.randperm(shape[0], generator=generator, device=home)
    return brought(drawn, device)


_counter = itertools.count()
_sources: weakref.WeakValueDictionary[int, torch.Generator] = weakref.WeakValueDictionary()


def _constant(function: _Function) -> _Function:
    """Do what `torch.compiler.assume_constant_result` does, which loads the compiler for it.

    That takes 150 MiB and a second, in each process that imports certvq.nn.
    """
    function.__dict__["_dynamo_marked_constant"] = True
    return function


@_constant
def _number(generator: torch.Generator | None) -> int:
    """Return a number that stands for a generator in this process; -1 for None."""
    if generator is None:
        return -1
    for number, known in _sources.items():
        if known is generator:
            return number
    number = next(_counter)
    _sources[number] = generator
    return number


@_constant
def _place() -> int:
    """Return another number for each draw of a program: torch 2.13 merges equal calls."""
    return next(_counter)


# The tag keeps compilers from repeating a draw in the backward pass.
torch.library.define(
    "certvq::draw",
    "(str kind, SymInt[] shape, SymInt below, int generator, int place, Device device,"
    " ScalarType dtype) -> Tensor",
    tags=(torch.Tag.nondeterministic_seeded,),
)


@torch.library.impl("certvq::draw", "default")
def _(
    kind: str,
    shape: list[int],
    below: int,
    generator: int,
    place: int,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    del place
    source = None if generator < 0 else _sources[generator]
    return _drawn(kind, tuple(shape), below, source, device, dtype)


@torch.library.register_fake("certvq::draw")
def _(
    kind: str,
    shape: list[int],
    below: int,
    generator: int,
    place: int,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    del kind, below, generator, place
    dtype = widest(device) if dtype == torch.float64 else dtype
    return torch.empty(shape, dtype=dtype, device=device)
