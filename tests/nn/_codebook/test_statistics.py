"""Running counts and sums follow their definition.

Also of `certvq.nn._torch.full_precision`.
"""

import copy

import pytest
import torch

import certvq.nn._codebook.statistics
from certvq.nn._codebook.statistics import RunningStatistics


def batches(seeded):
    for step in range(4):
        tokens = torch.randn(30, 2, dtype=torch.float64, generator=seeded(step))
        yield tokens, torch.randint(3, (30,), generator=seeded(100 + step))


def test_means_follow_the_definition(seeded):
    """Weights (1-decay) decay^age, divided by their sum, with Laplace smoothing of the counts."""
    decay, eps = 0.9, 1e-2
    start = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    statistics = RunningStatistics(3, 2).double()
    statistics.begin(start, torch.tensor([1.0, 2.0, 3.0]), decay)
    counts = [torch.tensor([1.0, 2.0, 3.0]).double()]
    sums = [start.double() * counts[0][:, None]]
    for tokens, codes in batches(seeded):
        statistics.observe(tokens, codes)
        assert statistics.average(decay)
        counts.append(torch.stack([(codes == k).sum() for k in range(3)]).double())
        sums.append(torch.stack([tokens[codes == k].sum(0) for k in range(3)]))
    weights = [decay**age for age in reversed(range(5))]
    mean_count = sum(w * n for w, n in zip(weights, counts, strict=True)) / sum(weights)
    mean_sum = sum(w * s for w, s in zip(weights, sums, strict=True)) / sum(weights)
    total = mean_count.sum()
    smoothed = (mean_count + eps) / (total + 3 * eps) * total
    rows, vectors = statistics.means(eps)
    assert rows.tolist() == [0, 1, 2]
    torch.testing.assert_close(vectors, mean_sum / smoothed[:, None])
    torch.testing.assert_close(statistics.weight.item(), 1 - decay**5)


def test_begin_implies_the_codebook():
    codebook = torch.tensor([[1.0, -2.0], [0.5, 8.0]])
    statistics = RunningStatistics(2, 2)
    statistics.begin(codebook, torch.tensor([4.0, 12.0]), 0.99)
    torch.testing.assert_close(statistics.means(1e-9)[1], codebook.double())


def test_a_batch_waits_and_is_taken_once():
    statistics = RunningStatistics(2, 1)
    statistics.begin(torch.ones(2, 1), torch.ones(2), 0.5)
    before = statistics.counts.clone()
    assert not statistics.average(0.5)
    statistics.observe(torch.tensor([[3.0], [5.0], [7.0]]), torch.tensor([1, 1, 0]))
    assert torch.equal(statistics.counts, before)
    assert statistics.pending_sums.tolist() == [[7.0], [8.0]]
    assert statistics.average(0.5)
    assert statistics.counts.tolist() == [0.25 + 0.5, 0.25 + 1.0]
    assert statistics.sums.tolist() == [[0.25 + 3.5], [0.25 + 4.0]]
    assert not statistics.average(0.5)


def test_replace_forgets_the_past_of_some_codes():
    statistics = RunningStatistics(4, 2)
    statistics.begin(torch.ones(4, 2), torch.tensor([8.0, 8.0, 8.0, 0.0]), 0.5)
    statistics.replace(torch.tensor([3]), torch.tensor([[5.0, -1.0]]), torch.tensor(1.5))
    assert statistics.counts.tolist() == [4.0, 4.0, 4.0, 1.5]
    assert statistics.sums[3].tolist() == [7.5, -1.5]
    assert statistics.sums[0].tolist() == [4.0, 4.0]


def test_width_zero_keeps_counts_only():
    statistics = RunningStatistics(2, 0)
    statistics.begin(torch.ones(2, 5), torch.ones(2), 0.5)
    statistics.observe(torch.ones(3, 5), torch.tensor([0, 0, 1]))
    statistics.replace(torch.tensor([1]), torch.ones(1, 5), 0.5)
    assert statistics.average(0.5)
    old = {name: torch.zeros(2, 0) for name in ("sums", "pending_sums")}
    assert old.keys().isdisjoint(statistics.state_dict())
    assert not statistics.load_state_dict(statistics.state_dict() | old).unexpected_keys
    with pytest.raises(RuntimeError, match='Unexpected key.*: "sums"'):
        statistics.load_state_dict(statistics.state_dict() | {"sums": torch.zeros(2, 3)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_modules_keep_float32_statistics(dtype):
    statistics = RunningStatistics(2, 1)
    statistics.begin(torch.ones(2, 1), torch.tensor([1.0, 1.0001]), 0.99)
    exact = statistics.counts.clone()
    statistics.to(dtype)
    assert {buffer.dtype for buffer in statistics.buffers()} == {torch.float32}
    assert torch.equal(statistics.counts, exact)


def test_double_modules_widen_them():
    statistics = RunningStatistics(2, 1).double()
    assert {buffer.dtype for buffer in statistics.buffers()} == {torch.float64}


def test_codes_without_tokens_do_not_move():
    """Their counts and sums vanish; what smooths the counts would draw them to the origin."""
    statistics = RunningStatistics(2, 2)
    statistics.begin(torch.tensor([[1.0, -2.0], [0.3, 8.1]]), torch.ones(2), 0.0)
    for _ in range(600):
        statistics.observe(torch.tensor([[3.0, 4.0]]), torch.tensor([0]))
        assert statistics.average(0.8)
        rows, vectors = statistics.means(1e-5)
        assert rows.tolist() == [0]
    assert statistics.counts[1] < 1e-40
    torch.testing.assert_close(vectors[0], torch.tensor([3.0, 4.0]).double(), rtol=1e-4, atol=0.0)


def test_what_several_averages_took_in_moves_together():
    """Also where nobody asked for the means in between."""
    statistics = RunningStatistics(3, 1)
    statistics.begin(torch.zeros(3, 1), torch.ones(3), 0.0)
    for code in (0, 2):
        statistics.observe(torch.tensor([[8.0]]), torch.tensor([code]))
        statistics.average(0.5)
    assert statistics.means(1e-5)[0].tolist() == [0, 2]


def started(dtype, *, size=5, width=3):
    statistics = RunningStatistics(size, width).to(dtype)
    codebook = torch.linspace(-1.0, 2.0, size * width, dtype=dtype).reshape(size, width)
    statistics.begin(codebook, torch.linspace(1.0, 4.0, size), 0.8)
    return statistics, codebook


def without_kernel(monkeypatch):
    monkeypatch.setattr(certvq.nn._codebook.statistics, "_arrays", lambda *_: None)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_adds_a_batch_as_torch_does(kind, dtype, seeded, monkeypatch, same_bits):
    """Twice, so that the second time is added to something; also where rows are not contiguous."""
    wide = (torch.randn(40, 7, generator=seeded()) * 1e3).to(kind)
    codes = torch.randint(4, (40,), generator=seeded(1))
    for tokens in (wide[:, :3], wide[:, :3].T.contiguous().T, wide[:, ::2][:, :3], wide[:0, :3]):
        ours, _ = started(dtype)
        plain, _ = started(dtype)
        version = ours.pending_sums._version
        for _ in range(2):
            ours.observe(tokens, codes[: len(tokens)])
        assert ours.pending_sums._version >= version + 2
        with monkeypatch.context() as patch:
            without_kernel(patch)
            for _ in range(2):
                plain.observe(tokens, codes[: len(tokens)])
        for name, buffer in plain.named_buffers():
            assert same_bits(ours.get_buffer(name), buffer), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.0, 0.8, 0.999])
def test_the_kernel_moves_a_codebook_as_average_and_means_do(dtype, decay, seeded, same_bits):
    """Also negative zeros, a code that nobody chose, and a note that is the codebook itself."""
    statistics, codebook = started(dtype)
    statistics.sums[3, 0] = -0.0
    plain = copy.deepcopy(statistics)
    ours, note, expected = codebook.clone(), codebook.clone(), codebook.clone()
    for step in range(4):
        tokens = torch.randn(30, 3, generator=seeded(step)).to(dtype)
        codes = torch.randint(4, (30,), generator=seeded(10 + step))
        for one in (statistics, plain):
            one.observe(tokens, codes)
        versions = [one._version for one in (ours, note, statistics.sums)]
        assert statistics.move(decay, 1e-5, ours, note if step % 2 else ours)
        assert plain.average(decay)
        rows, vectors = plain.means(1e-5)
        expected[rows] = vectors.to(dtype)
        assert same_bits(ours, expected)
        if step % 2:
            assert same_bits(note[rows], expected[rows])
            grown = [one._version for one in (ours, note, statistics.sums)]
            assert all(new > old for new, old in zip(grown, versions, strict=True))
        for name, buffer in plain.named_buffers():
            assert same_bits(statistics.get_buffer(name), buffer), name


def test_what_the_kernel_cannot_move_stays_as_it_is(same_bits):
    """Another type of number, a decay of 1, or codes that moved without the codebook."""
    statistics, codebook = started(torch.float32)
    statistics.observe(torch.ones(1, 3), torch.tensor([2]))
    before = {name: one.clone() for name, one in statistics.named_buffers()}
    assert not statistics.move(0.5, 1e-5, codebook.half(), codebook.half())
    assert not statistics.move(1.0, 1e-5, codebook, codebook)
    statistics.chosen = torch.zeros(5, dtype=torch.bool)
    assert not statistics.move(0.5, 1e-5, codebook, codebook)
    assert all(same_bits(statistics.get_buffer(name), one) for name, one in before.items())
