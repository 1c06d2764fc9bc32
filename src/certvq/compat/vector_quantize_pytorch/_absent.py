"""Names of the original's modules that certvq does not have.

In: the names, and why. Out: what a module does when somebody asks for one of them. Must not import
any class.
"""

from collections.abc import Callable, Mapping
from typing import NoReturn

HELPER = "a helper of its own, which nothing here uses; write it where you need it"
"""Why most of them are absent."""


def absent(
    module: str, helpers: str = "", reasons: Mapping[str, str] | None = None
) -> Callable[[str], NoReturn]:
    """Make the ``__getattr__`` of a module with the path of one of the original's.

    Args:
        module: its name.
        helpers: names that are absent for the reason `HELPER`, with spaces between them.
        reasons: other names, with what to use instead.

    Returns:
        A function that raises ImportError for these names, whose text ``from ... import`` shows,
        and AttributeError for others.

    Example:
        >>> absent("vector_quantize_pytorch.sim_vq", "exists")("exists")
        Traceback (most recent call last):
        ImportError: certvq has no exists of vector_quantize_pytorch.sim_vq: a helper of its own, \
which nothing here uses; write it where you need it; see docs/migration.md
    """
    known = dict.fromkeys(helpers.split(), HELPER) | dict(reasons or {})

    def look(name: str) -> NoReturn:
        if name in known:
            short = ".".join(module.split(".")[-2:])
            text = f"certvq has no {name} of {short}: {known[name]}; see docs/migration.md"
            raise ImportError(text, name=module)
        text = f"module {module!r} has no attribute {name!r}"
        raise AttributeError(text)

    return look
