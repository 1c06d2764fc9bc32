"""Whole jobs: the main one, and its parts as the command line offers them.

In: paths and options. Out: files, complete or absent, and figures. Must not import `certvq.cli`,
nor print. Each job is loaded when it is first asked for: assigning and auditing arrays needs NumPy
alone, and shall not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certvq.jobs._audit_tokens import audit_tokens as audit_tokens
    from certvq.jobs._torchlean import Documents as Documents
    from certvq.jobs._torchlean import TorchLean as TorchLean
    from certvq.jobs.assign import assign_file as assign_file
    from certvq.jobs.audit import AuditResult as AuditResult
    from certvq.jobs.audit import LocatedViolation as LocatedViolation
    from certvq.jobs.audit import audit_arrays as audit_arrays
    from certvq.jobs.certify import CertifyResult as CertifyResult
    from certvq.jobs.certify import certify_file as certify_file
    from certvq.jobs.decode import DecodedImages as DecodedImages
    from certvq.jobs.decode import decode_file as decode_file
    from certvq.jobs.demo import DemoResult as DemoResult
    from certvq.jobs.demo import demo_config as demo_config
    from certvq.jobs.demo import run_demo as run_demo
    from certvq.jobs.encode import EncodedImages as EncodedImages
    from certvq.jobs.encode import encode_images as encode_images
    from certvq.jobs.kmeans import kmeans_files as kmeans_files
    from certvq.jobs.train import Trained as Trained
    from certvq.jobs.train import train_config as train_config
    from certvq.jobs.train import train_run as train_run

_PLACES = {
    "AuditResult": "audit",
    "CertifyResult": "certify",
    "DecodedImages": "decode",
    "DemoResult": "demo",
    "Documents": "_torchlean",
    "EncodedImages": "encode",
    "LocatedViolation": "audit",
    "TorchLean": "_torchlean",
    "Trained": "train",
    "assign_file": "assign",
    "audit_arrays": "audit",
    "audit_tokens": "_audit_tokens",
    "certify_file": "certify",
    "decode_file": "decode",
    "demo_config": "demo",
    "encode_images": "encode",
    "kmeans_files": "kmeans",
    "run_demo": "demo",
    "train_config": "train",
    "train_run": "train",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_PLACES)
