"""The kernels for GPUs, in Triton, and how they are launched.

In: tensors on one device and a codebook. Out: tensors on that device. On CPUs they run in Triton's
interpreter, slowly, for tests. Must not import anything of certvq but bounds, errors and types; and
must not be imported before the backend is asked for, because it loads torch and Triton.
"""

from certvq._triton._device import require_device as require_device
from certvq._triton._launch import INTERPRETED as INTERPRETED
from certvq._triton._launch import decide as decide
from certvq._triton._tables import Tables as Tables
from certvq._triton._tables import make_tables as make_tables
