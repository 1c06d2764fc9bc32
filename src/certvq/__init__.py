"""Vector quantization whose codes are provably the nearest ones.

In: latents and a codebook. Out: codes that satisfy `certvq.spec.is_nearest_code` over the real
numbers, the lowest index among ties, with evidence. The torch parts (`certvq.nn`,
`certvq.models`, ...) are imported by name; ``import certvq`` loads neither torch nor a solver.
"""

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
