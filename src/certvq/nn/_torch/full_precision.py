"""State that keeps its precision when a module is converted to half precision.

In: a conversion such as ``.half()`` or ``.to("cuda")``. Out: buffers that moved, and were not
narrowed below float32. Must not know what the buffers mean.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class WideBuffers(nn.Module):
    """A module whose float buffers are float32 or wider, whatever it is converted to."""

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> "WideBuffers":
        kept = dict(self._buffers)
        super()._apply(fn, *args, **kwargs)
        for name, old in kept.items():
            new = self._buffers[name]
            if old is None or new is None or not new.dtype.is_floating_point:
                continue
            if new.dtype.itemsize < torch.float32.itemsize:
                self._buffers[name] = old.to(new.device)
        return self
