"""Training steps of several parts that happen as a whole or not at all.

In: a module and the tokens that it is about to learn from. Out: the same module, with its old state
if the step failed. Must not know of any family.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from certvq.errors import CertVQError

_SAFE_STATE = 2.0**30
_SAFE_TOKENS = 2.0**40


@contextmanager
def all_or_nothing(module: nn.Module, tokens: torch.Tensor, levels: int) -> Iterator[bool]:
    """Restore a module's parameters and buffers if the body raises an error of certvq.

    What a later level of a residual quantizer is given depends on what earlier levels have learned,
    so that not all can be asked beforehand. Only numbers that are close to overflow can stop a
    later level; while the state is below 2^30, the tokens are below ``2^(40 - levels)`` and nothing
    is float16, no copy is made: residuals at most double from level to level, and up to 2^40 the
    sums of squares of 2^40 numbers are finite in float32. Compiled programs do not look: in
    them a step that fails at a later level, by numbers that close to overflow, leaves the earlier
    levels changed.

    Yields:
        Whether numbers are that close to overflow, so that each level has to be asked.

    Args:
        module: what learns; nothing is done in eval mode.
        tokens: (N, D), finite.
        levels: how many parts learn one after the other.
    """
    if (
        torch.compiler.is_compiling()
        or not module.training
        or not _close_to_overflow(module, tokens, levels)
    ):
        yield False
        return
    state = [*module.parameters(), *module.buffers()]
    kept = [tensor.detach().clone() for tensor in state]
    try:
        yield True
    except CertVQError:
        with torch.no_grad():
            for tensor, old in zip(state, kept, strict=True):
                tensor.copy_(old)
        raise


def _close_to_overflow(module: nn.Module, tokens: torch.Tensor, levels: int) -> bool:
    state = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    if any(tensor.dtype == torch.float16 for tensor in state):
        return True
    tops = [tensor.detach().abs().amax().double() for tensor in state if tensor.numel()]
    if tops and not bool(torch.stack(tops).max() <= _SAFE_STATE):
        return True
    if not tokens.numel():
        return False
    return not float(tokens.detach().abs().amax()) <= _SAFE_TOKENS / 2.0**levels
