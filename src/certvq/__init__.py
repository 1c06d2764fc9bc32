"""Vector quantization whose codes are provably the nearest ones.

In: latents and a codebook. Out: codes that satisfy `certvq.spec.is_nearest_code` over the real
numbers, the lowest index among ties, with evidence. The torch parts (`certvq.nn`,
`certvq.models`, ...) are imported by name, and their functions that stand here when they are first
asked for; ``import certvq`` loads neither torch nor a solver.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from certvq import bounds as bounds
from certvq import check as check
from certvq import errors as errors
from certvq import spec as spec
from certvq._version import __version__ as __version__
from certvq.assign import Assignment as Assignment
from certvq.assign import AuditReport as AuditReport
from certvq.assign import DecidedBy as DecidedBy
from certvq.assign import Prepared as Prepared
from certvq.assign import Ranking as Ranking
from certvq.assign import assign as assign
from certvq.assign import audit as audit
from certvq.assign import backends as backends
from certvq.assign import certify as certify
from certvq.assign import prepare as prepare
from certvq.assign import rank as rank
from certvq.assign import register_backend as register_backend
from certvq.assign import stability_radius as stability_radius
from certvq.assign import unregister_backend as unregister_backend
from certvq.cluster import KMeansResult as KMeansResult
from certvq.cluster import kmeans as kmeans

if _TYPE_CHECKING:
    from certvq._info import show_info as show_info
    from certvq.inspect import audit_module as audit_module
    from certvq.inspect import patch_module as patch_module
    from certvq.inspect import stability_report as stability_report
    from certvq.inspect import unpatch_module as unpatch_module
    from certvq.network import canonical_codes as canonical_codes
    from certvq.tokenize import tokenize as tokenize

_LAZY = {
    "audit_module": "inspect",
    "canonical_codes": "network",
    "patch_module": "inspect",
    "show_info": "_info",
    "stability_report": "inspect",
    "tokenize": "tokenize",
    "unpatch_module": "inspect",
}
"""Names that are imported when they are asked for, and the part of certvq that each is from."""


def __getattr__(name: str) -> object:
    """Import what needs torch, or is seldom needed, when it is first asked for."""
    if name in _LAZY:
        from importlib import import_module

        module = import_module(f"certvq.{_LAZY[name]}")
        return module if name == _LAZY[name] else getattr(module, name)  # one can be called itself
    text = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(text)


def __dir__() -> list[str]:
    """Name what `__getattr__` would import, where torch is installed."""
    from importlib.util import find_spec

    lazy = _LAZY if find_spec("torch") else ("show_info",)
    return sorted({*globals(), *lazy})
