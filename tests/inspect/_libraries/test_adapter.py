"""What fits together, and how a class is recognised.

Also of `certvq.inspect._libraries.methods`.
"""

import torch

from certvq.inspect._libraries.adapter import Adapter, Comparison, Seen


def test_scores_must_fit_the_operands():
    comparison = Comparison(torch.zeros(2, 5, 3), torch.zeros(2, 7, 3))
    assert comparison.fits(torch.zeros(2, 5, 7))
    assert comparison.fits(torch.zeros(10, 7))
    assert not comparison.fits(torch.zeros(2, 5, 8))
    assert not comparison.fits(torch.zeros(5, 7))
    assert not comparison.fits(torch.tensor(0.0))
    assert not Comparison(torch.zeros(1, 5, 3), torch.zeros(2, 7, 3)).fits(torch.zeros(5, 7))
    assert not Comparison(torch.zeros(1, 5, 2), torch.zeros(1, 7, 3)).fits(torch.zeros(5, 7))


def test_latents_are_the_first_argument_by_any_name():
    z = torch.zeros(1)
    assert Seen(torch.nn.Identity(), (z, 1), {}, None, 0).first is z
    assert Seen(torch.nn.Identity(), (), {"z": z}, None, 0).first is z


def test_attributes_are_asked_for_in_depth():
    adapter = Adapter("tests", ("Linear",), "forward", has=("weight.data",))
    assert adapter.matches(torch.nn.Linear(2, 2))
    assert not adapter.matches(torch.nn.Identity())
    assert not Adapter("tests", ("Linear",), "forward", has=("bias.data",)).matches(
        torch.nn.Linear(2, 2, bias=False)
    )
