"""Whole jobs: the main one, and its parts as the command line offers them.

In: paths and options. Out: files, complete or absent, and figures. Must not import `certvq.cli`,
nor print. Each job is loaded when it is first asked for: assigning and auditing arrays needs NumPy
alone, and shall not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certvq.pipeline._assigning import assign_file as assign_file
    from certvq.pipeline._auditing import AuditResult as AuditResult
    from certvq.pipeline._auditing import LocatedViolation as LocatedViolation
    from certvq.pipeline._auditing import audit_arrays as audit_arrays
    from certvq.pipeline._certifying import CertifyResult as CertifyResult
    from certvq.pipeline._certifying import certify_file as certify_file
    from certvq.pipeline._encoding import DecodedImages as DecodedImages
    from certvq.pipeline._encoding import EncodedImages as EncodedImages
    from certvq.pipeline._encoding import decode_file as decode_file
    from certvq.pipeline._encoding import encode_images as encode_images
    from certvq.pipeline._main_job import DemoResult as DemoResult
    from certvq.pipeline._main_job import demo_config as demo_config
    from certvq.pipeline._main_job import run_demo as run_demo
    from certvq.pipeline._summary import ImageFigures as ImageFigures
    from certvq.pipeline._summary import Summary as Summary
    from certvq.pipeline._token_audit import audit_tokens as audit_tokens
    from certvq.pipeline._training import Trained as Trained
    from certvq.pipeline._training import train_config as train_config
    from certvq.pipeline._training import train_run as train_run

_PLACES = {
    "AuditResult": "_auditing",
    "CertifyResult": "_certifying",
    "DecodedImages": "_encoding",
    "DemoResult": "_main_job",
    "EncodedImages": "_encoding",
    "ImageFigures": "_summary",
    "LocatedViolation": "_auditing",
    "Summary": "_summary",
    "Trained": "_training",
    "assign_file": "_assigning",
    "audit_arrays": "_auditing",
    "audit_tokens": "_token_audit",
    "certify_file": "_certifying",
    "decode_file": "_encoding",
    "demo_config": "_main_job",
    "encode_images": "_encoding",
    "run_demo": "_main_job",
    "train_config": "_training",
    "train_run": "_training",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_PLACES)
