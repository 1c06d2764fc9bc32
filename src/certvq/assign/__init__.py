"""The contract at run time: validate, filter, certify, refine; backends, audit, stability radius.

In: arrays. Out: certified codes. Must not import torch modules of certvq, nor anything above.
"""

from certvq.assign._assign import assign as assign
from certvq.assign._assignment import Assignment as Assignment
from certvq.assign._assignment import DecidedBy as DecidedBy
from certvq.assign._audit import AuditReport as AuditReport
from certvq.assign._audit import audit as audit
from certvq.assign._audit import certify as certify
from certvq.assign._backends import backends as backends
from certvq.assign._backends import register_backend as register_backend
from certvq.assign._backends import unregister_backend as unregister_backend
from certvq.assign._prepare import Prepared as Prepared
from certvq.assign._prepare import prepare as prepare
from certvq.assign._ranking import Ranking as Ranking
from certvq.assign._ranking import rank as rank
from certvq.assign._stability import stability_radius as stability_radius
