"""The quantizer of diffusers' `VQModel`.

In: nothing. Out: `ADAPTERS`. Must not import diffusers.
"""

from certvq.adapters._adapter import Adapter

ADAPTERS = (Adapter("diffusers", ("VectorQuantizer",), "forward", "diffusers.models."),)
