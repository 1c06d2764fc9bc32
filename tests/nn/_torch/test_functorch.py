"""Steps that look at numbers run on ordinary tensors, as seldom as they can."""

import pytest
import torch
from torch import func

from certvq.nn._torch.functorch import apart
from certvq.nn._torch.modes import has_memory

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's


class Step:
    """Multiply rows by a number; read them as only ordinary tensors can be."""

    def __init__(self):
        self.sizes = []

    def __call__(self, rows, table):
        assert has_memory(rows)
        assert has_memory(table)
        self.sizes.append(len(rows))
        return torch.tensor(rows.tolist()).reshape(rows.shape) * float(table), rows[:, 0].long()


def test_all_samples_at_once_where_the_tables_are_the_same():
    step, rows = Step(), torch.arange(24.0).reshape(3, 4, 2)
    found = func.vmap(lambda part: apart(step, [part], [torch.tensor(2.0)]), in_dims=1)(rows)
    assert torch.equal(found[0], 2.0 * rows.movedim(1, 0))
    assert torch.equal(found[1], rows.movedim(1, 0)[..., 0].long())
    assert step.sizes == [12]


def test_one_sample_at_a_time_where_they_differ():
    step, rows, tables = Step(), torch.arange(6.0).reshape(3, 2), torch.tensor([1.0, 5.0])
    found = func.vmap(lambda table: apart(step, [rows], [table])[0])(tables)
    assert torch.equal(found, rows * tables[:, None, None])
    assert step.sizes == [3, 3]


def test_nested():
    step, rows, tables = Step(), torch.arange(24.0).reshape(4, 3, 2), torch.tensor([1.0, 5.0])

    def inner(table):
        return func.vmap(lambda part: apart(step, [part], [table])[0])(rows)

    assert torch.equal(func.vmap(inner)(tables), rows * tables[:, None, None, None])
    assert step.sizes == [12, 12]


@pytest.mark.parametrize("rows", [torch.zeros(3, 0, 2), torch.zeros(0, 3, 2)])
def test_nothing(rows):
    found = func.vmap(lambda part: apart(Step(), [part], [torch.tensor(2.0)]))(rows)
    assert [part.shape for part in found] == [rows.shape, rows.shape[:2]]


def test_it_has_no_derivative():
    rows, table = torch.ones(3, 2), torch.tensor(2.0)

    def value(rows):
        return apart(Step(), [rows], [table])[0].sum() + rows.sum()

    assert torch.equal(func.grad(value)(rows), torch.ones(3, 2))
    assert func.jvp(value, (rows,), (rows,))[1] == 6.0
    rows.requires_grad_()
    assert not apart(Step(), [rows], [table])[0].requires_grad
