"""Training steps that happen as a whole or not at all."""

import pytest
import torch
from torch import nn

from certvq.errors import NonFiniteError
from certvq.nn._core.transaction import all_or_nothing


def module_of(value, dtype=torch.float32):
    module = nn.Module()
    module.register_buffer("counts", torch.tensor([value], dtype=dtype))
    module.register_buffer("started", torch.tensor(False))
    module.weight = nn.Parameter(torch.tensor([1.0]))
    return module


def fail_after_a_change(module, tokens, levels=2):
    """Change everything, then fail; say whether numbers were close to overflow."""
    seen = []

    def step():
        with all_or_nothing(module, tokens, levels) as risky:
            seen.append(risky)
            for tensor in (module.counts, module.started, module.weight.data):
                tensor.fill_(7)
            raise NonFiniteError

    with pytest.raises(NonFiniteError):
        step()
    return seen[0]


@pytest.mark.parametrize(
    ("module", "tokens", "levels"),
    [
        (module_of(1.0), torch.tensor([2.0**39]), 2),
        (module_of(2.0**31), torch.ones(1), 2),
        (module_of(float("nan")), torch.ones(1), 2),
        (module_of(1.0, torch.float16), torch.ones(1), 2),
        (module_of(1.0), torch.tensor([2.0**30]), 11),
    ],
)
def test_close_to_overflow_all_is_undone(module, tokens, levels):
    before = [module.counts.clone(), module.started.clone(), module.weight.detach().clone()]
    assert fail_after_a_change(module, tokens, levels)
    after = [module.counts, module.started, module.weight.detach()]
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)


def test_far_from_overflow_no_copy_is_made():
    """Nothing of certvq fails there; the body above does, to show that the copy is not there."""
    module = module_of(1.0)
    assert not fail_after_a_change(module, torch.tensor([2.0**38]))
    assert float(module.counts) == 7.0
    assert not fail_after_a_change(module_of(1.0), torch.zeros(0))


def test_eval_mode_changes_nothing_to_undo():
    assert not fail_after_a_change(module_of(1.0).eval(), torch.tensor([2.0**100]))
