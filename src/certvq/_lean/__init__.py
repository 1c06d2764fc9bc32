"""Running Lean: finding it, setting it up, its sources, and what is written for it.

In: Lean text, or packed numbers. Out: what Lean says. Must not import anything of certvq but its
errors and atomic files; who needs Lean imports this when it runs, not before.
"""

from certvq._lean._argmin import run_argmin as run_argmin
from certvq._lean._certificate import certificate as certificate
from certvq._lean._packing import Packed as Packed
from certvq._lean._packing import pack as pack
from certvq._lean._run import Lean as Lean
from certvq._lean._run import LeanRun as LeanRun
from certvq._lean._run import Message as Message
from certvq._lean._run import find_lean as find_lean
from certvq._lean._run import run_lean as run_lean
