"""The kernels against exact fractions: what is measured, what is listed, what is settled.

The interpreter multiplies more exactly than tensor cores. So one test puts an adversary in the
place of its multiplication, who errs by as much as the axiom allows, to either side.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch
import triton

from certvq import bounds
from certvq._triton import INTERPRETED, _kernels, _launch, decide, make_tables
from certvq._triton._plan import COLUMNS, MOST

from ._on import DEVICE, fractions, to_device

READ_AT_ONCE = 32


def tables_of(vectors):
    return make_tables(vectors.astype(np.float64), np.arange(len(vectors)), DEVICE)


def read(latents, tables):
    """Run the first kernel; return its results as arrays."""
    rows, shapes = len(latents), tables.plan
    device = to_device(latents)
    narrow = torch.zeros((rows, shapes.padded), dtype=torch.float16, device=DEVICE)
    notes = [torch.zeros(rows, dtype=torch.float64, device=DEVICE) for _ in range(4)]
    _kernels.read_rows[(triton.cdiv(rows, READ_AT_ONCE),)](
        device,
        *device.stride(),
        tables.centre,
        tables.constants,
        narrow,
        *notes,
        torch.zeros(2, dtype=torch.int32, device=DEVICE),
        rows,
        tables.dim,
        PADDED=shapes.padded,
        BLOCK=READ_AT_ONCE,
        CHUNK=min(64, shapes.chunk),
    )
    return [narrow.double().cpu().numpy(), *(note.cpu().numpy() for note in notes)]


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e3, 1e9])
def test_latents_are_rounded_in_a_unit_of_their_own_and_measured(rng, factor):
    vectors = rng.standard_normal((9, 5))
    latents = rng.standard_normal((20, 5)) * factor
    tables = tables_of(vectors)
    narrow, units, squares, moves, errors = read(latents, tables)
    scale, residual, norm, relative = (Fraction(float(v)) for v in tables.constants[:4])
    centre = fractions(tables.centre.cpu()[None])[0]
    assert (np.frexp(units)[0] == 0.5).all()
    assert (np.abs(narrow).max(axis=1) <= bounds.TENSOR_LATENT_NORM).all()
    for row, latent in enumerate(fractions(latents)):
        unit = Fraction(units[row])
        taken = [unit * Fraction(q) for q in narrow[row].tolist()[:5]]
        left = [scale * (x - m) - q for x, m, q in zip(latent, centre, taken, strict=True)]
        moved = Fraction(moves[row]) - residual
        assert sum(x * x for x in left) <= moved * moved
        assert moved * moved <= 4 * sum(x * x for x in left) + unit**2 * Fraction(2) ** -38
        square = sum(q * q for q in taken)
        assert abs(Fraction(squares[row]) - square) <= square * Fraction(2) ** -40
        error = Fraction(errors[row])
        magnitude = error / relative - norm * norm / 2
        assert magnitude * magnitude >= square * norm * norm


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_rows_that_cannot_be_read_are_marked_and_stay_open(bad):
    latents = np.array([[0.0, 1.0], [bad, 1.0], [1.0, 0.0]])
    tables = tables_of(np.eye(2))
    with np.errstate(all="ignore"):
        assert (read(latents, tables)[1] > 0).tolist() == [True, False, True]
        assert (decide(to_device(latents), tables).ways > 0).tolist() == [True, False, True]


class Adversary:
    """Multiplies matrices with the greatest error that the axiom allows.

    Each product is an instruction of its own, which adds 2 (2**-23 of all magnitudes so far), on
    the side that is drawn for each score.
    """

    def __init__(self, seed):
        self._signs = np.random.default_rng(seed)
        self.worst = 0.0

    def __call__(self, a, b, d, *_):
        x, y = a.data.astype(np.float64), b.data.astype(np.float64)
        total, sides = d.data.astype(np.float64), self._signs.choice([-1.0, 1.0], d.data.shape)
        magnitude = np.abs(total)
        for k in range(x.shape[1]):
            product = np.outer(x[:, k], y[k])
            magnitude = np.abs(total) + np.abs(product)
            total = total + product + sides * 2.0 * 2.0**-23 * magnitude
        self.worst = max(self.worst, float(np.abs(total - (x @ y + d.data)).max()))
        return type(d)(total.astype(np.float32), d.dtype)


@pytest.fixture
def adversary(monkeypatch):
    """The interpreter's multiplication with the errors of the worst tensor cores."""
    if not INTERPRETED:
        pytest.skip("replaces the multiplication of the interpreter")
    from triton.runtime.interpreter import InterpreterBuilder

    found = Adversary(7)
    monkeypatch.setattr(InterpreterBuilder, "create_dot", lambda self, *given: found(*given))
    return found


def true_codes(latents, vectors):
    """Return the lowest nearest codes; integers, so float64 is exact."""
    distances = ((latents[:, None].astype(np.float64) - vectors[None]) ** 2).sum(axis=2)
    return distances.argmin(axis=1), distances


@pytest.mark.parametrize("dim", [16, 40, 96])
def test_no_code_is_wrong_with_the_worst_error_of_the_axiom(rng, adversary, dim):
    """Integers that float16 holds: nothing but the sums errs, and scores differ by 1/2 and more."""
    half = rng.integers(-300, 301, (40, dim)).astype(np.float64)
    half[20:] = half[:20] + rng.integers(-1, 2, (20, dim))
    vectors = np.unique(np.concatenate([half, -half]), axis=0)
    assert not vectors.mean(axis=0).any()
    latents = np.concatenate([vectors + rng.integers(-1, 2, vectors.shape) for _ in range(3)])
    tables = tables_of(vectors)
    found = decide(to_device(latents), tables)
    expected, _ = true_codes(latents, vectors)
    decided = found.ways.cpu().numpy() > 0
    assert adversary.worst > 1e-3
    assert decided.any()
    assert np.array_equal(found.codes.cpu().numpy()[decided], expected[decided])


def test_latents_far_from_all_codes_are_scaled_with_their_offsets(rng):
    """Codes on a line, latents far beside it: offsets in another unit would choose others."""
    vectors = np.array([[64.0 * k, 0.0] for k in range(-3, 4)])
    latents = np.stack([rng.integers(-200, 201, 200), np.full(200, 2.0**17)], axis=1)
    tables = tables_of(vectors)
    assert (read(latents, tables)[1] >= 4.0).all()
    found = decide(to_device(latents), tables)
    decided = found.ways.cpu().numpy() > 0
    assert decided.mean() > 0.5
    expected, _ = true_codes(latents, vectors)
    assert np.array_equal(found.codes.cpu().numpy()[decided], expected[decided])


class Spy:
    """Launches a kernel and keeps what some of its arguments are afterwards."""

    def __init__(self, kernel, **places):
        self._kernel, self._places, self.seen = kernel, places, {}

    def __getitem__(self, grid):
        def launch(*arguments, **options):
            self._kernel[grid](*arguments, **options)
            for name, place in self._places.items():
                self.seen[name] = arguments[place].cpu().numpy().copy()

        return launch


@pytest.fixture
def spies(monkeypatch):
    """Watch what the scan and the collection put out."""
    scan = Spy(_launch.scan_codes, groups=7, thresholds=9, pending=11, counters=12)
    collect = Spy(_launch.collect_codes, found=5, candidates=6)
    monkeypatch.setattr(_launch, "scan_codes", scan)
    monkeypatch.setattr(_launch, "collect_codes", collect)
    return scan.seen, collect.seen


@pytest.mark.parametrize("size", [700, 5000])
@pytest.mark.parametrize("twins", [False, True])
def test_every_nearest_code_is_in_the_group_or_among_the_candidates(rng, spies, twins, size):
    """Rounded by float16: a reach without what rounding moves would lose some.

    Twins are near each other in one column of unlike super-tiles.
    """
    scanned, collected = spies
    vectors = rng.standard_normal((size, 3))
    if twins:
        vectors[256:512] = vectors[:256] + rng.standard_normal((256, 3)) * 1e-5
    first, second = rng.integers(0, size, (2, 200))
    latents = (vectors[first] + vectors[second]) / 2 + rng.standard_normal((200, 3)) * 1e-4
    latents = np.concatenate([latents, rng.standard_normal((200, 3))])
    tables = tables_of(vectors)
    decide(to_device(latents), tables)
    members = tables.plan.members
    assert 256 % (members * COLUMNS) == 0
    nearest = true_codes(latents, vectors)[0]
    groups, many = scanned["groups"], scanned["counters"][0]
    pending = np.flatnonzero(groups == -1)
    assert sorted(scanned["pending"][:many].tolist()) == pending.tolist()
    assert 10 < len(pending) < 380
    for row in np.flatnonzero(groups >= 0):
        assert nearest[row] in groups[row] + np.arange(members) * COLUMNS
    full = 0
    for row in pending:
        count = collected["found"][row]
        listed = collected["candidates"][row, : min(count, MOST)].tolist()
        assert len(set(listed)) == len(listed) > 0
        assert count > MOST or nearest[row] in listed
        full += count > MOST
    assert full < len(pending)
    assert not collected["found"][groups >= 0].any()


def test_equal_distances_stay_open():
    tables = tables_of(np.array([[-1.0], [1.0], [4.0]]))
    found = decide(to_device(np.array([[0.0], [2.5], [0.5]])), tables)
    assert (found.ways > 0).tolist() == [False, False, True]
    assert found.codes.tolist()[2] == 1


def test_distances_one_unit_apart_stay_open_where_float64_cannot_tell():
    latents = np.array([[1.0 + 2.0**-52] * 3])
    vectors = np.array([[0.0] * 3, [2.0] * 3])
    found = decide(to_device(latents), tables_of(vectors))
    assert found.ways.tolist() in ([0], [2])
    if found.ways[0]:
        assert found.codes.tolist() == [1]


def test_reach_grows_with_each_of_its_parts():
    """What the kernels compare with is the bound of the page (tests/_triton/test_bounds.py)."""
    whole = bounds.tensor_reach(2.0, 1.0, 0.5, 3.0, 1.0)
    assert whole >= 2 * 2 * 1 + 2 * 1 + 2 * 0.5
    for smaller in ((1.0, 1.0, 0.5), (2.0, 0.5, 0.5), (2.0, 1.0, 0.0)):
        assert bounds.tensor_reach(*smaller, 3.0, 1.0) < whole


def test_rows_with_several_candidates_are_decided_on_the_device(rng, spies):
    """Circles of codes around the latents: no tie, and as many candidates as are listed."""
    angles = rng.permutation(MOST) * (2 * np.pi / MOST)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vectors = np.concatenate([circle, circle * 3, -circle * 4])
    latents = rng.standard_normal((20, 2)) * 1e-5
    found = decide(to_device(latents), tables_of(vectors))
    assert (spies[1]["found"][:20] == MOST).all()
    assert (found.ways == 2).all()
    assert found.left() == 0
    assert np.array_equal(found.codes.cpu().numpy(), true_codes(latents, vectors)[0])


def test_rows_with_more_candidates_than_are_listed_stay_open(rng, spies):
    angles = rng.permutation(MOST + 1) * (2 * np.pi / (MOST + 1))
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = decide(to_device(rng.standard_normal((3, 2)) * 1e-5), tables_of(circle))
    assert (spies[1]["found"][:3] == MOST + 1).all()
    assert not found.ways.any()
    assert found.left() == 3
