"""The Lean backend: the argmin that is proved is the argmin that runs.

In: validated latents and a prepared codebook. Out: `Decided`, each row by exact integers. Must not
be imported before it is asked for.
"""

import numpy as np

from certvq._lean import pack, run_argmin
from certvq._types import Array
from certvq.assign._arrays import to_host
from certvq.assign._assignment import Decided, DecidedBy
from certvq.assign._prepare import Prepared
from certvq.errors import BackendUnavailableError, LeanUnavailableError


def lean_codes(latents: Array, prepared: Prepared) -> Decided:
    """Find the nearest codes with the argmin of ``lean/CertVQ/Argmin.lean``, run in Lean.

    Args:
        latents: (N, D), validated.
        prepared: the codebook.

    Returns:
        Codes, all decided by exact integers.

    Raises:
        BackendUnavailableError: Lean or its sources are missing; says how to get them.
        LeanError: Lean crashed, took too long, or refused a proof.

    Guarantee: ``argmin_isNearestCode``, checked by Lean in the very run that computes the codes.
    Cost: a run of Lean for each call; for small inputs.
    """
    points = to_host(latents).astype(np.float64)
    if not len(points):
        return Decided(np.empty(0, np.int64), np.empty(0, np.uint8))
    try:
        (codes,) = run_argmin([pack(points.tolist(), prepared.vectors().tolist())])
    except LeanUnavailableError as error:
        raise BackendUnavailableError(f"backend 'lean' cannot run: {error}") from error
    return Decided(
        np.array(codes, dtype=np.int64), np.full(len(codes), DecidedBy.EXACT, dtype=np.uint8)
    )
