"""Environment variables for a while.

In: variables. Out: a block in which they are set. Must not know what they mean.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def environment_of(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables; restore what was there before."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
