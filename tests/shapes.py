"""Holds arrays to the axes in certvq's annotations while tests run.

A function that is annotated with axes, as `Float[Array, "N D"]`, is wrapped when its module is
imported. Once it has returned, its arguments and its result are compared with the annotations, all
under one reading of N, D and so on. Before that nothing is compared: certvq itself refuses what is
wrong, with its own errors. An override without axes is held to those of the method it overrides.
The library needs neither jaxtyping nor beartype: there `Float` is `typing.Annotated`.
"""

import dataclasses
import functools
import inspect
import re
import sys
import types
import typing

import jaxtyping
import numpy as np
from beartype.door import is_bearable
from jaxtyping._storage import pop_shape_memo, push_shape_memo

KINDS = ("Bool", "Float", "Float32", "Float64", "Int", "Int64", "Integer", "Shaped", "UInt8")


class AxesError(AssertionError):
    """An annotation of certvq is wrong, or the function that has it."""


def install():
    """Wrap the functions of all modules of certvq, which must not be imported yet."""
    assert "certvq" not in sys.modules
    sys.meta_path.insert(0, _Finder())


class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "certvq":
            return None
        others = (f for f in sys.meta_path if f is not self and hasattr(f, "find_spec"))
        spec = next(filter(None, (f.find_spec(name, path, target) for f in others)), None)
        if spec is not None and str(spec.origin).endswith(".py"):  # whatever loads it
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                hold(module)

            spec.loader.exec_module = exec_module
        return spec


def hold(module):
    """Wrap what a module defines and annotates with axes."""
    if module.__name__ == "certvq._types":
        for kind in KINDS:
            setattr(module, kind, _kind(getattr(jaxtyping, kind)))
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, type):
            hold_class(value)
        elif isinstance(value, types.FunctionType) and (hints := _axes_of(value)):
            setattr(module, name, held(value, hints))


def hold_class(cls):
    """Wrap the methods of a class, and the constructor of a dataclass that looks at its fields."""
    for name, method in list(vars(cls).items()):
        if isinstance(method, property) and (hints := _axes_of(method.fget)):
            setattr(cls, name, method.getter(held(method.fget, hints)))
        if not isinstance(method, types.FunctionType) or name.startswith("__"):
            continue
        bases = (vars(base).get(name) for base in cls.__mro__)
        hints = next(filter(None, map(_axes_of, bases)), {})
        if hints and not getattr(method, "__isabstractmethod__", False):
            setattr(cls, name, held(method, hints))
    if dataclasses.is_dataclass(cls) and "__post_init__" in vars(cls) and _fields(cls):
        cls.__init__ = held(cls.__init__, {"self": cls})


_CHECKS = []
"""What wrappers call, by number: torch's compiler cannot follow a closure over a signature."""


def held(function, hints):
    """Return a function that compares what it took and gave back with hints."""
    signature = inspect.signature(function)
    if inspect.isgeneratorfunction(inspect.unwrap(function)):
        return function
    traced, seen = _traced(), set()
    named = [compile(n, "<axis>", "eval") for n in re.findall(r"\{(.*?)\}", str([*hints.values()]))]

    def check(args, kwargs, result):
        values = {**signature.bind(*args, **kwargs).arguments, "return": result}
        try:  # what agreed once agrees again, and most calls of a test are alike
            looks = [_look(values.get(name)) for name in hints]
            key = (*looks, *(eval(name, {}, values) for name in named))  # noqa: S307
            known = key in seen
        except TypeError:
            key, known = None, False
        if not known:
            compare(function.__qualname__, values, hints)
            if key is not None:
                seen.add(key)

    number = len(_CHECKS)
    _CHECKS.append(check)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        result = function(*args, **kwargs)
        if not traced():
            _CHECKS[number](args, kwargs, result)
        return result

    return wrapper


def _look(value):
    """Return all of a value that a comparison depends on; TypeError if that is not known."""
    if value is None:
        return None
    if fields := _fields(type(value)):  # first: a record may have a shape, too
        return type(value), *(_look(getattr(value, field)) for field in fields)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return type(value), value.dtype, tuple(value.shape)
    raise TypeError


def compare(name, values, hints):
    """Raise `AxesError` unless all values agree with their hints, under one reading of axes."""
    push_shape_memo(values)
    try:
        for argument, hint in hints.items():
            if argument in values and not _agrees(values[argument], hint):
                shapes = ", ".join(f"{n} is {_shown(v)}" for n, v in values.items())
                raise AxesError(f"{name}: {argument} must be {hint}; {shapes}")
    finally:
        pop_shape_memo()


def _agrees(value, hint):
    """Say whether a value is what a hint says; a record's fields are held to theirs."""
    parts = [hint, *typing.get_args(hint)]
    if any(type(value) is part for part in parts) and (fields := _fields(type(value))):
        return all(_agrees(getattr(value, field), inner) for field, inner in fields.items())
    return is_bearable(value, hint)


@functools.cache
def _fields(cls):
    """Return the axes of the fields of a dataclass or a named tuple."""
    named = dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")
    hints = vars(cls).get("__annotations__", {}) if named else {}
    hints = {name: _plain(hint) for name, hint in hints.items()}
    return {name: hint for name, hint in hints.items() if _has_axes(hint)}


def _axes_of(function):
    """Return the annotations of a function that name axes.

    Records that it takes were compared when they were made: each has a reading of its own.
    """
    if not isinstance(function, types.FunctionType):
        return {}
    hints = {name: _plain(hint) for name, hint in function.__annotations__.items()}
    several = {
        name for name, p in _parameters(function) if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    return {
        name: hint
        for name, hint in hints.items()
        if _has_axes(hint, records=name == "return") and name not in several
    }


def _parameters(function):
    return inspect.signature(function).parameters.items()


def _plain(hint):
    """Read `typing.Annotated[NDArray[...], "N D"]`, of modules that import nothing of certvq."""
    if typing.get_origin(hint) is not typing.Annotated:
        return hint
    array, *notes = typing.get_args(hint)
    if len(notes) != 1 or not isinstance(notes[0], str):  # of the command line
        return hint
    axes = notes[0]
    if array is typing.Any:
        return jaxtyping.Shaped[array, axes] | Shapeless
    (number,) = typing.get_args(typing.get_args(array)[1])
    return _NUMBERS[number][np.ndarray, axes]


class _Shapeless(type):
    def __instancecheck__(cls, value):
        return not hasattr(value, "shape")


class Shapeless(metaclass=_Shapeless):
    """Lists, and what holds an array."""


_NUMBERS = {np.float64: jaxtyping.Float64, np.int64: jaxtyping.Int64}


def _has_axes(hint, *, records=False):
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return issubclass(hint, jaxtyping.AbstractArray) or (records and bool(_fields(hint)))
    return any(_has_axes(part, records=records) for part in typing.get_args(hint))


def _kind(dtype):
    """Let a type of number of jaxtyping take generic types of arrays too, as `NDArray[float64]`."""

    class Kind:
        def __class_getitem__(cls, item):
            array, axes = item
            return dtype[typing.get_origin(array) or array, axes]

    return Kind


def _traced():
    """Return a function that says whether torch traces a program, where there are no shapes."""
    torch = sys.modules.get("torch")
    if torch is None:
        return lambda: False
    compiling, tracing = torch.compiler.is_compiling, torch.jit.is_tracing
    return lambda: compiling() or tracing()


def _shown(value):
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{value.dtype} {tuple(shape)}"
