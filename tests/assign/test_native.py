"""The compiled backend keeps the contract on every instruction set and number of threads."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import certvq
from certvq import _native, testing
from certvq.assign import _native as backend
from certvq.assign._packing import to_bits
from certvq.assign._prepare import Prepared
from certvq.errors import BackendUnavailableError, NonFiniteError, OptionError

ISAS = _native.isas()


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", request.param)
    return request.param


def same_as_numpy(latents, codebook):
    """Assert that the kernel and the NumPy backend, which share no filter, agree."""
    found = certvq.assign(latents, codebook, backend="native")
    expected = certvq.assign(latents, codebook, backend="numpy")
    assert np.array_equal(found.codes, expected.codes)
    np.testing.assert_allclose(found.sqdist, expected.sqdist, rtol=certvq.bounds.gamma(2000))
    return found


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_contract_suite(isa, threads, monkeypatch):
    monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
    assert testing.check_backend("native") == []


def test_the_kernel_itself_answers_and_not_another_backend(isa, monkeypatch):
    prepared = certvq.prepare(np.eye(3))
    assert prepared.packed().isa == isa
    decided = backend.native_codes(np.eye(3), prepared)
    assert decided is not None
    assert decided.codes.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ISAS)
def test_forced_dispatch_seen_from_outside(name):
    code = "import certvq, numpy; print(certvq.prepare(numpy.eye(2)).packed().isa)"
    environment = {**os.environ, "CERTVQ_ISA": name}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [name]


def processor_flags():
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith(("flags", "Features")):
                return set(line.split(":")[1].split())
    return set()


def test_best_instruction_set_is_what_the_processor_says():
    flags = processor_flags()
    if "avx512_vnni" in flags:
        assert ISAS[0] == "avx512_vnni"
    assert ("avx_vnni" in ISAS) == ({"avx_vnni", "avx2", "fma", "f16c"} <= flags)
    if {"avx2", "fma", "f16c"} <= flags:
        assert "avx2" in ISAS
    assert ISAS[-1] == "portable"


@pytest.mark.rows("name", ["neon9", "AVX2", "avx512_vnni "])
def test_unknown_instruction_set_is_named(name, monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", name)
    with pytest.raises(OptionError, match=f"CERTVQ_ISA='{name}'.*must be one of .*portable"):
        certvq.prepare(np.eye(2))


def test_an_instruction_set_that_the_processor_lacks_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("CERTVQ_ISA", "none")
    with pytest.raises(OptionError) as caught:
        certvq.prepare(np.eye(2))
    known = re.search("must be one of (.*), got", str(caught.value))[1].split(", ")
    assert set(ISAS) <= set(known)
    for name in known:
        monkeypatch.setenv("CERTVQ_ISA", name)
        refused = pytest.raises(OptionError, match=f"='{name}'.*processor lacks {name}")
        with contextlib.nullcontext() if name in ISAS else refused:
            certvq.prepare(np.eye(2))


@pytest.mark.rows("dim", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64, 100])
@pytest.mark.rows("codes", [1, 2, 63, 64, 65, 300, 1500])
def test_every_shape_of_tile_and_panel(isa, codes, dim, rng):
    latents = rng.standard_normal((101, dim)).astype(np.float32)
    codebook = rng.standard_normal((codes, dim)).astype(np.float32)
    same_as_numpy(latents, codebook)


@pytest.mark.rows("rows", [0, 1, 2, 11, 12, 13, 95, 96, 97, 200, 1153])
def test_every_number_of_rows(isa, rows, rng):
    latents, codebook = rng.standard_normal((rows, 6)), rng.standard_normal((70, 6))
    assert len(same_as_numpy(latents, codebook).codes) == rows


@pytest.mark.rows("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.rows("other", ["float64", "float32", "float16", "bfloat16"])
def test_every_pair_of_types(isa, dtype, other, rng):
    latents = torch.from_numpy(rng.standard_normal((300, 5))).to(getattr(torch, dtype))
    codebook = torch.from_numpy(rng.standard_normal((90, 5))).to(getattr(torch, other))
    found = certvq.assign(latents, codebook, backend="native")
    expected = certvq.assign(latents, codebook, backend="numpy")
    assert torch.equal(found.codes, expected.codes)


@pytest.mark.rows(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[::3, ::2],
        np.asfortranarray,
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, a.size, 1).reshape(a.shape),
        lambda a: np.broadcast_to(a[0], a.shape),
    ],
)
@pytest.mark.rows("dtype", [np.float64, np.float32, np.float16])
def test_every_layout(isa, view, dtype, rng):
    latents = view(rng.standard_normal((60, 6)).astype(dtype))
    codebook = rng.standard_normal((9, latents.shape[1])).astype(dtype)
    for given in (latents, codebook):
        given.flags.writeable = False
    same_as_numpy(latents, codebook)
    same_as_numpy(codebook, latents)


def test_packed_fields_of_a_record_array(isa, rng):
    """Strides that are no multiple of the size of an entry."""
    record = np.zeros(50, dtype=[("tag", "u1"), ("z", "f4", (3,))])
    record["z"] = rng.standard_normal((50, 3))
    same_as_numpy(record["z"], rng.standard_normal((8, 3)))


def test_huge_and_tiny_rows_beside_ordinary_ones(isa, rng):
    latents = rng.standard_normal((400, 8)) * 10.0 ** rng.integers(-12, 13, (400, 1))
    same_as_numpy(latents, rng.standard_normal((300, 8)))
    same_as_numpy(latents, rng.standard_normal((300, 8)) * 10.0 ** rng.integers(-6, 7, (300, 1)))


@pytest.mark.rows("outlier", [1e2, 1e4, 1e8, 1e30])
def test_one_code_far_away_from_all_others(isa, outlier, rng):
    codebook = rng.standard_normal((700, 8)).astype(np.float32)
    codebook[17] = outlier
    same_as_numpy(rng.standard_normal((150, 8)).astype(np.float32), codebook)


def test_all_codes_at_the_same_distance(isa, rng):
    """Permutations of one vector seen from the diagonal: exact ties of full significands."""
    vector = rng.standard_normal(7)
    codebook = np.array([rng.permutation(vector) for _ in range(400)])
    latents = np.repeat(rng.standard_normal((30, 1)), 7, axis=1)
    found = same_as_numpy(latents, codebook)
    assert (found.codes == 0).all()
    assert set(found.decided_by.tolist()) == {certvq.DecidedBy.EXACT}


@pytest.mark.rows("offset", [0.0, 1e3, 1e8])
def test_offsets_and_lattices(isa, offset, rng):
    latents = (rng.standard_normal((300, 4)) + offset).astype(np.float32)
    codebook = (rng.standard_normal((200, 4)) + offset).astype(np.float32)
    same_as_numpy(latents, codebook)
    same_as_numpy(np.round(2 * latents) / 2, np.round(codebook))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codes", "dim"), [(4096, 1), (5000, 2), (4500, 3), (8192, 4), (16400, 5), (65600, 6)]
)
@pytest.mark.rows("rows", [30, 3000])
def test_codebooks_that_are_sorted_to_leave_out_panels(isa, codes, dim, rows, rng):
    latents = rng.standard_normal((rows, dim)) * np.linspace(3.0, 0.1, dim)
    codebook = rng.standard_normal((codes, dim)) * np.linspace(3.0, 0.1, dim)
    latents[::50] *= 100.0
    assert certvq.prepare(codebook).packed().sorted
    same_as_numpy(latents.astype(np.float32), codebook)
    same_as_numpy(latents, codebook.astype(np.float32))


@pytest.mark.parametrize(("codes", "dim"), [(4400, 1), (6000, 2), (9000, 4)])
def test_ties_and_duplicates_in_a_sorted_codebook(isa, codes, dim, rng):
    """Its places have another order than the indices that decide ties."""
    side = {1: 50_000, 2: 100, 4: 12}[dim]
    codebook = rng.integers(-side, side, (codes, dim)).astype(np.float32)
    latents = rng.integers(-2 * side, 2 * side, (1500, dim)).astype(np.float32) / 2
    assert certvq.prepare(codebook).packed().sorted
    found = same_as_numpy(latents, codebook)
    assert certvq.DecidedBy.EXACT in found.decided_by


def test_all_codes_of_a_sorted_codebook_tie(isa):
    angles = np.arange(4096) * (2 * np.pi / 4096)
    circle = np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1) * 2.0**20) * 2.0**-20
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    codebook = (np.abs(circle[:1100, None]) * signs).reshape(-1, 2)[::-1]
    same_as_numpy(np.zeros((40, 2)), codebook)
    same_as_numpy(np.concatenate([np.eye(2), -np.eye(2)]) * 1e-9, codebook)


def test_duplicates_are_folded_to_the_lowest_index(isa, rng):
    codebook = rng.standard_normal((50, 3))[rng.integers(0, 50, 2000)]
    codebook[rng.integers(0, 2000, 100), 0] = 0.0
    codebook[5] = -0.0
    codebook[9] = 0.0
    prepared = certvq.prepare(codebook)
    assert prepared.packed().distinct == len(prepared.distinct)
    same_as_numpy(np.concatenate([codebook[:100], rng.standard_normal((100, 3))]), codebook)


@pytest.mark.rows("scale", [2.0**-390, 2.0**-500, 2.0**390, 2.0**500, 5e-324])
def test_extreme_scales_are_answered_by_it_or_by_numpy(isa, scale, rng):
    latents = rng.integers(-9, 10, (40, 3)) * scale
    codebook = rng.integers(-9, 10, (20, 3)) * scale
    same_as_numpy(latents, codebook)
    same_as_numpy(latents, rng.standard_normal((20, 3)))


def test_squared_distances_that_underflow_are_mended(isa):
    """Three squares of a quarter of the least number: each rounds to 0, and their sum does not."""
    found = certvq.assign(np.full((1, 3), 2.0**-538), np.eye(3), backend="native")
    assert found.sqdist.tolist() == [1.0]
    codebook = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    found = certvq.assign(np.full((1, 3), 2.0**-538), codebook, backend="native")
    assert found.sqdist.tolist() == [5e-324]


@pytest.mark.rows(
    ("length", "apart", "usable"),
    [
        (2.0**397.9, 2.0**397, True),
        (0.0, 2.0**-399, True),
        (2.0**399.1, 1.0, False),
        (0.0, 2.0**-402, False),
        (0.0, 0.0, True),
        (1.0, 2.0**398.9, True),
        (1.0, 2.0**400.1, False),
    ],
)
def test_lengths_at_the_ends_of_its_range(isa, length, apart, usable):
    """Not numbers but lengths bound it: 5 numbers of 2^399 are longer than 2^400."""
    codebook = np.full((2, 5), length / 5**0.5)
    codebook[1, 0] += apart
    assert certvq.prepare(codebook).packed().usable == usable
    same_as_numpy(codebook[::-1].copy(), codebook)
    same_as_numpy(np.zeros((1, 5)), codebook)


def test_number_that_is_not_finite_is_named(isa, rng):
    latents, codebook = rng.standard_normal((300, 4)), rng.standard_normal((30, 4))
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = latents.copy()
        spoilt[237, 2] = bad
        with pytest.raises(NonFiniteError, match="row 237, column 2"):
            certvq.assign(spoilt, codebook, backend="native")
        spoilt = codebook.copy()
        spoilt[29, 3] = bad
        with pytest.raises(NonFiniteError, match="codebook .* row 29, column 3"):
            certvq.assign(latents, spoilt, backend="native")


def test_all_instruction_sets_and_threads_give_the_same_bits(rng, monkeypatch):
    latents, codebook = rng.standard_normal((500, 20)), rng.standard_normal((300, 20))
    answers = set()
    for name in ISAS:
        for threads in "13":
            monkeypatch.setenv("CERTVQ_ISA", name)
            monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
            found = certvq.assign(latents, codebook, backend="native")
            answers.add((found.codes.tobytes(), found.sqdist.tobytes()))
    assert len(answers) == 1


def wrong_codes_on_a_line(widen):
    """Latents within 2**-12 of the middle of two codes on a line, as precise as that is coarse."""
    rng = np.random.default_rng(5)
    codebook = np.sort(rng.standard_normal((1500, 1)), axis=0)
    left = rng.integers(0, 1499, 200_000)
    middle = 0.5 * (codebook[left] + codebook[left + 1])
    latents = middle + rng.standard_normal(middle.shape) * 2.0**-18
    packed = _native._kernel.pack(codebook, "")
    packed.widen = widen
    found = _native._kernel.assign(packed, latents, 2)
    right = np.where(np.abs(latents - codebook[left]) <= np.abs(latents - codebook[left + 1]), 0, 1)
    return int((found[0] != left + right[:, 0]).sum())


def test_the_reach_is_needed():
    """Half of it is too short for some latents between two codes; the whole of it never is."""
    assert wrong_codes_on_a_line(1.0) == 0
    assert wrong_codes_on_a_line(0.5) > 0
    assert wrong_codes_on_a_line(0.0) > wrong_codes_on_a_line(0.5)


def test_missing_kernel_is_named(monkeypatch):
    monkeypatch.setattr(_native, "AVAILABLE", False)
    with pytest.raises(BackendUnavailableError, match="needs the compiled kernel"):
        certvq.assign(np.eye(2), np.eye(2), backend="native")


def test_refusals_of_the_binding():
    kernel = _native._kernel
    packed = kernel.pack(np.eye(2), "")
    for bad in (
        np.eye(2, dtype=np.int64),
        np.zeros(3),
        np.eye(2, dtype=np.complex128),
        "text",
        None,
    ):
        with pytest.raises(TypeError):
            kernel.pack(bad, "")
        with pytest.raises(TypeError):
            kernel.assign(packed, bad, 1)
    with pytest.raises(ValueError, match=r"shape \(0, 3\)"):
        kernel.pack(np.zeros((0, 3)), "")
    with pytest.raises(ValueError, match=r"1 to 2\^31 - 1 rows"):
        kernel.pack(np.broadcast_to(np.float32(1), (2**31, 1)), "")
    with pytest.raises(ValueError, match="dim 2 .* got dim 3"):
        kernel.assign(packed, np.zeros((1, 3)), 1)
    with pytest.raises(ValueError, match="0 threads"):
        kernel.assign(packed, np.eye(2), 0)
    with pytest.raises(ValueError, match="refused"):
        kernel.assign(kernel.pack(np.full((1, 1), np.nan), ""), np.zeros((1, 1)), 1)


def test_bits_are_shared_and_not_copied():
    tensor = torch.zeros(4, 3, dtype=torch.bfloat16)
    bits, number = to_bits(tensor)
    assert number == "bfloat16"
    assert bits.__array_interface__["data"][0] == tensor.data_ptr()
    host = np.zeros((4, 3), dtype=np.float16)
    assert to_bits(host)[0].base is host


def test_codebook_is_packed_once(monkeypatch):
    calls = []
    pack = _native.pack
    monkeypatch.setattr(_native, "pack", lambda *a: calls.append(a) or pack(*a))
    prepared = Prepared(np.eye(3))
    for _ in range(3):
        certvq.assign(np.eye(3), prepared, backend="native")
    assert len(calls) == 1


@pytest.mark.slow
def test_signal_stops_a_long_call():
    """In a process of its own: about a minute of work, interrupted after half a second."""
    code = (
        "import numpy as np, certvq\n"
        "rng = np.random.default_rng(0)\n"
        "z, c = rng.standard_normal((400_000, 256)), rng.standard_normal((40_000, 256))\n"
        "prepared = certvq.prepare(c)\n"
        "print('ready', flush=True)\n"
        "certvq.assign(z, prepared, backend='native')\n"
    )
    environment = {**os.environ, "CERTVQ_ISA": "portable"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
        took = time.monotonic() - sent
    assert "KeyboardInterrupt" in errors
    assert (
        took < 20
    )  # the promise is a second; a busy machine is given time, the call needs minutes
