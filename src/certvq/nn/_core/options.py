"""Refuse options of another kind than they are annotated with.

In: the arguments of a constructor. Out: the same, or a named error before anything is built. Ranges
are the constructors' own business. Must not know of any family.
"""

import functools
import inspect
import reprlib
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from certvq.errors import OptionError

_Class = TypeVar("_Class", bound=type)

_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
    types.NoneType: "None",
}


def checked(cls: _Class) -> _Class:
    """Let a class refuse arguments whose kind is not that of its constructor's annotations.

    Whole numbers and numbers may be NumPy's, but not bools; sequences may be of any type but
    strings. Arguments of ``**options`` are left to whoever takes them.

    Args:
        cls: a class with a constructor of its own, or a dataclass.

    Returns:
        The same class, whose constructor raises `OptionError`.

    Example:
        >>> from dataclasses import dataclass
        >>> @checked
        ... @dataclass
        ... class Walk:
        ...     steps: int
        >>> Walk(2.5)
        Traceback (most recent call last):
        certvq.errors.OptionError: steps must be a whole number, got 2.5 for Walk; convert it
    """
    plain: Callable[..., None] = cls.__init__
    signature = inspect.signature(plain)
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    hints = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if name != "self" and parameter.kind not in variable
    }

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            given = signature.bind(self, *args, **kwargs).arguments
        except TypeError:  # missing or unknown arguments, which Python names itself
            given = {}
        for name, value in given.items():
            if name in hints and not _is(value, hints[name]):
                text = (
                    f"{name} must be {_describe(hints[name])}, got {_shown(value)} for "
                    f"{cls.__name__}; {_remedy(value, hints[name])}"
                )
                raise OptionError(text)
        plain(self, *args, **kwargs)

    cls.__init__ = init
    return cls


def _is(value: Any, hint: Any) -> bool:
    """Say whether a value is of the kind of an annotation."""
    if hint in _KINDS:
        return _KINDS[hint](value)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:  # which of them is a range, and the constructor's own business
        return isinstance(value, tuple(map(type, inner)))
    if origin in _UNIONS:
        return any(_is(value, part) for part in inner)
    if origin in (tuple, list, Sequence):
        return _is_sequence(value, inner, fixed=origin is tuple and inner[-1] is not Ellipsis)
    return callable(value) if origin is Callable else isinstance(value, origin or hint)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | np.floating) or (_is_whole(value) and abs(value) <= _MOST)


_MOST = int(sys.float_info.max)
_UNIONS = (typing.Union, types.UnionType)
_KINDS: dict[Any, Callable[[Any], bool]] = {
    Any: lambda _: True,
    None: lambda value: value is None,
    types.NoneType: lambda value: value is None,
    int: _is_whole,
    float: _is_number,
    bool: lambda value: isinstance(value, bool | np.bool_),
}


def _is_sequence(value: Any, inner: tuple[Any, ...], *, fixed: bool) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | nn.ModuleList):
        return False
    if fixed:
        return len(value) == len(inner) and all(map(_is, value, inner))
    return all(_is(entry, inner[0]) for entry in value)


def _describe(hint: Any) -> str:
    """Say in words what an annotation asks for."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        objects = [part for part in inner if _is_object(part)]
        words = [_describe(part) for part in inner if part not in objects]
        if objects:
            names = [part.__name__ for part in objects]
            names += ["None"] if "None" in words else []
            words = [word for word in words if word != "None"]
            words.insert(0, "an object of " + ", ".join(names))
        return " or ".join(dict.fromkeys(words))
    if origin in (tuple, list, Sequence):
        if origin is tuple and inner[-1] is not Ellipsis:
            return f"a sequence of {len(inner)} entries, each {_describe(inner[0])}"
        return f"a sequence, each entry {_describe(inner[0])}"
    if origin is typing.Literal:
        return _NAMES[type(inner[0])]
    if origin is Callable:
        return "something that can be called"
    return _NAMES.get(hint) or f"an object of {hint.__name__}"


def _is_object(hint: Any) -> bool:
    return isinstance(hint, type) and typing.get_origin(hint) is None and hint not in _NAMES


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor | np.ndarray | nn.Module):
        return f"an object of {type(value).__name__}"
    return reprlib.repr(value)


def _remedy(value: Any, hint: Any) -> str:
    objects = any(map(_is_object, (hint, *typing.get_args(hint))))
    if objects and isinstance(value, type | str):
        return "write it with brackets"
    if isinstance(value, torch.Tensor | np.ndarray):
        return "use .item() or .tolist()"
    return "convert it"
