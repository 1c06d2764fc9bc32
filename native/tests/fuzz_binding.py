"""Fuzz the binding layer: any array at all goes in, right codes or a documented error come out.

In: bytes of libFuzzer, by way of atheris; `CERTVQ_FUZZ_KERNEL`, the path of a kernel that was built
with sanitizers. Out: exit status 0, or the input that broke something. `make fuzz` runs it;
``--self-test`` spoils the answers and succeeds only if the target notices.
"""

import collections
import importlib.util
import os
import random
import sys
import time
import types

import atheris
import numpy as np

KERNEL = "certvq._native._kernel"
if "CERTVQ_FUZZ_KERNEL" in os.environ:
    spec = importlib.util.spec_from_file_location(KERNEL, os.environ["CERTVQ_FUZZ_KERNEL"])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[KERNEL] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[KERNEL])

import certvq
from certvq import _native
from certvq.assign._exact import exact_sqdist
from certvq.errors import CertVQError

FLOATS = ["f8", "f4", "f2", ">f8", ">f4", ">f2"]
BITS = {"uint16": "f2", "float64": "f8", "float32": "f4"}  # what the kernel itself takes
TYPES = [
    *FLOATS,
    "u2",
    ">u2",
    "i2",
    "i8",
    "u1",
    "?",
    "c8",
    "c16",
    "g",
    "S3",
    "U2",
    "O",
    "M8[s]",
    "V8",
]
LAYOUTS = ["C", "F", "T", "reversed", "mirrored", "sparse", "broadcast", "misaligned", "field"]
MOST_CODES, MOST_DIM = 90, 20
seen: collections.Counter[str] = collections.Counter()


@atheris.instrument_func
def entries(fuzz: atheris.FuzzedDataProvider, count: int, dtype: np.dtype) -> np.ndarray:
    """Return small integers, or whatever the bytes say."""
    width = dtype.itemsize
    if dtype.kind in "OSUM":
        return np.zeros(count, dtype)
    if fuzz.ConsumeBool():
        raw = fuzz.ConsumeBytes(min(count, 300)) or b"\1"
        numbers = np.resize(np.frombuffer(raw, np.int8), count)
        return (numbers % 5).astype(dtype) if dtype.kind != "V" else np.zeros(count, dtype)
    raw = fuzz.ConsumeBytes(min(count, 100) * width).ljust(width, b"\1")
    raw = raw[: len(raw) // width * width]
    return np.resize(np.frombuffer(raw, dtype), count)


@atheris.instrument_func
def layout(
    fuzz: atheris.FuzzedDataProvider, flat: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return an array of the shape in some layout of memory; a 0-d one stays what it is."""
    array = flat.reshape(shape)
    kind = fuzz.PickValueInList(LAYOUTS)
    if kind == "F":
        array = np.asfortranarray(array)
    elif kind == "T":
        array = flat.reshape(shape[::-1]).T
    elif kind == "reversed" and array.ndim:
        array = array[::-1]
    elif kind == "mirrored":
        array = array[..., ::-1] if array.ndim else array
    elif kind == "sparse" and array.ndim:
        wide = np.full((*array.shape[:-1], array.shape[-1] * 3), array.flat[0] if array.size else 0)
        wide = wide.astype(array.dtype)
        wide[..., ::3] = array
        array = wide[..., ::3]
    elif kind == "broadcast" and array.size:
        array = np.broadcast_to(array[:1] if array.ndim else array, array.shape)
    elif kind == "misaligned" and array.dtype.kind != "O":
        raw = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:]
        array = np.ndarray(array.shape, array.dtype, raw.data) if raw.size else array
    elif kind == "field" and array.dtype.kind != "O":
        record = np.zeros(array.shape, [("tag", "u1"), ("number", array.dtype)])
        record["number"] = array
        array = record["number"]
    if fuzz.ConsumeBool() and array.flags.owndata:
        array.flags.writeable = False
    return array


@atheris.instrument_func
def any_array(
    fuzz: atheris.FuzzedDataProvider, most_rows: int, dim: int | None = None
) -> np.ndarray:
    """Return an array; with `dim`, mostly one that goes with that many columns."""
    often = fuzz.ConsumeIntInRange(0, 7)
    dtype = np.dtype(fuzz.PickValueInList(FLOATS if often else TYPES))
    rank = 2 if often else fuzz.ConsumeIntInRange(0, 4)
    shape = [fuzz.ConsumeIntInRange(0, most_rows if rank == 2 else 5) for _ in range(rank)]
    if rank == 2:
        shape[1] = dim if dim is not None and often > 2 else fuzz.ConsumeIntInRange(0, MOST_DIM)
    return layout(fuzz, entries(fuzz, int(np.prod(shape)), dtype), tuple(shape))


def outcome(call: types.FunctionType, allowed: tuple[type[Exception], ...]) -> object:
    """Return what a call returns, or the class of the error that it may raise."""
    try:
        return call()
    except allowed as error:
        return type(error)


def same(found: object, expected: object, what: str) -> None:
    """Fail unless both are the same error, or equal codes."""
    errors = isinstance(found, type), isinstance(expected, type)
    seen[f"{what}: {found.__name__ if isinstance(found, type) else 'codes'}"] += 1
    if errors == (False, False):
        assert np.array_equal(found, expected), (what, found, expected)
    else:
        assert found is expected, (what, found, expected)


def codes_of(latents: np.ndarray, codebook: np.ndarray, backend: str) -> np.ndarray:
    """Return codes by one backend of the public function."""
    return np.asarray(certvq.assign(latents, codebook, backend=backend).codes)


def check_public(latents: np.ndarray, codebook: np.ndarray) -> None:
    """Both backends give the same codes, or raise the same error of certvq."""
    found, expected = (
        outcome(lambda name=name: codes_of(latents, codebook, name), (CertVQError,))
        for name in ("native", "numpy")
    )
    same(found, expected, "certvq.assign")


def shorter(vectors: np.ndarray, length: float) -> bool:
    """Whether each vector is surely within `length`: lengths bound the kernel, not numbers."""
    return bool((np.linalg.norm(vectors / length, axis=1) < 1.0 - 2.0**-40).all())


@atheris.instrument_func
def check_kernel(latents: np.ndarray, codebook: np.ndarray, isa: str, threads: int) -> None:
    """The kernel takes what its signature says in any layout and refuses all else."""
    kernel = _native._kernel
    brain = (False,) if codebook.dtype == np.uint16 else ()
    packed = outcome(lambda: kernel.pack(codebook, isa, *brain), (TypeError, ValueError))
    if isinstance(packed, type):
        seen[f"pack: {packed.__name__}"] += 1
        assert packed is TypeError or codebook.size == 0, (packed, codebook.shape, codebook.dtype)
        return
    assert codebook.dtype.name in BITS, (codebook.dtype, "was taken")
    assert codebook.ndim == 2
    if not packed.usable:
        numbers = codebook.view(BITS[codebook.dtype.name]).astype(np.float64)
        differ = np.abs(numbers - numbers[:1])
        assert not shorter(numbers, 2.0**398) or 0 < differ.max() < 2.0**-399
    brain = (False,) if latents.dtype == np.uint16 else ()
    found = outcome(
        lambda: kernel.assign(packed, latents, threads, *brain), (TypeError, ValueError)
    )
    if isinstance(found, type):
        seen[f"assign: {found.__name__}"] += 1
        fits = latents.ndim == 2 and latents.shape[1] == codebook.shape[1]
        known = latents.dtype.name in BITS and latents.dtype.isnative
        assert not packed.usable or threads < 1 or not fits or not known or odd(latents), found
        return
    z, c = (a.view(a.dtype.str.replace("u2", "f2")) for a in (latents, codebook))
    if found is None:
        seen["assign: None"] += 1
        assert not shorter(z.astype(np.float64), 2.0**399)
        return
    same(found[0], codes_of(z, c, "numpy"), "assign")
    check_follow_up(packed, (latents, codebook), (z, c), found[0].astype(np.int64), threads)


def check_follow_up(
    packed: object,
    bits: tuple[np.ndarray, np.ndarray],
    numbers: tuple[np.ndarray, np.ndarray],
    codes: np.ndarray,
    threads: int,
) -> None:
    """Second codes and rounded distances are those of NumPy and Python; no radius is too large.

    The checker finds nothing, and, given other codes, these.
    """
    kernel = _native._kernel
    latents, codebook = bits
    sqdist = kernel.rounded_sqdist(latents, False, codebook, False, codes, threads, packed.isa)
    wide = [array.astype(np.float64) for array in numbers]
    for row in range(0, len(codes), 7):
        assert sqdist[row] == exact_sqdist(wide[0][row], wide[1][codes[row]]), (row, sqdist[row])
    seen["rounded_sqdist: numbers"] += 1
    second = kernel.second(packed, latents, False, codes, threads)
    assert second is not None
    everything = np.asarray(certvq.assign(*numbers, backend="numpy", second=True).second)
    public = np.asarray(certvq.assign(*numbers, backend="native", second=True).second)
    same(public, everything, "second")
    if packed.distinct == len(codebook):
        same(second, everything, "second of the kernel")
    brain = (False,) if latents.dtype == np.uint16 else ()
    radii = kernel.stability(packed, latents, codes, threads, *brain)
    assert (radii >= 0).all()
    steps = wide[1][everything] - wide[1][codes] if packed.distinct == len(codebook) > 1 else None
    if steps is not None:  # never beyond the border to the second code, but for what NumPy rounds
        gap = sqdist_gap(wide[0], wide[1][codes], steps)
        apart = np.sqrt((steps**2).sum(1))
        border = np.maximum(gap, 0) / (2 * apart)
        room = 1e-9 * (np.abs(wide[0]).max(1, initial=0) + np.abs(wide[1]).max() + border)
        sane = (apart > 1e-100) & (apart < 1e100)
        assert (radii <= border + room)[sane].all(), (radii, border)
    seen["stability: radii"] += 1
    assert certvq.audit(*numbers, codes).ok
    others = (codes + 1) % len(codebook)
    for violation in certvq.audit(*numbers, others).violations:
        assert violation.nearest == codes[violation.row]
        others[violation.row] = codes[violation.row]
    assert (others == codes).all()
    seen["audit: violations"] += 1


def sqdist_gap(z: np.ndarray, own: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return how much farther the vectors own + steps are, in squared distance."""
    return (steps * (2 * (own - z) + steps)).sum(1)


def odd(array: np.ndarray) -> bool:
    """Whether strides are no whole entries."""
    return any(stride % array.itemsize for stride in array.strides)


def check_norms(rows: np.ndarray) -> None:
    """Squared norms are near those of NumPy, or the array was refused."""
    norms = outcome(lambda: _native.squared_row_norms(rows), (TypeError,))
    if isinstance(norms, type):
        seen["squared_row_norms: TypeError"] += 1
        plain = rows.dtype == np.float64 and rows.dtype.isnative and rows.ndim == 2
        assert not plain or odd(rows), (rows.dtype, rows.shape, rows.strides)
        return
    seen["squared_row_norms: numbers"] += 1
    expected = np.einsum("nd,nd->n", rows, rows)
    assert np.allclose(norms, expected, rtol=1e-13, atol=1e-300, equal_nan=True)


@atheris.instrument_func
def check_grid(fuzz: atheris.FuzzedDataProvider, latents: np.ndarray, threads: int) -> None:
    """Digits are those that NumPy counts, or the arrays were refused."""
    most = fuzz.ConsumeIntInRange(0, 40)
    dim = latents.shape[1] if latents.ndim == 2 else 1
    often = fuzz.ConsumeIntInRange(0, 7) > 0
    dtype = latents.dtype if often else np.dtype(fuzz.PickValueInList(TYPES))
    limits = entries(fuzz, dim * most, np.dtype("f4")).reshape(dim, most)
    limits = np.sort(np.where(np.isnan(limits), np.inf, limits))
    limits = limits.astype(dtype if dtype.kind == "f" else "f4")
    stands_for = np.arange(dim * (most + 1), dtype=fuzz.PickValueInList(["u2", "f4", "i8", "u1"]))
    stands_for = stands_for.reshape(dim, most + 1)
    levels = [2] * (dim - 1) + [3] if often else [most + 1] * fuzz.ConsumeIntInRange(0, 9)
    vectors = np.zeros((len(latents) if latents.ndim else 1, dim), stands_for.dtype)
    codes = np.zeros(len(vectors), np.int64)
    zeros = outcome(
        lambda: _native._kernel.round_to_grid(
            latents, limits, stands_for, levels, vectors, codes, threads
        ),
        (TypeError, ValueError),
    )
    if isinstance(zeros, type):
        seen[f"round_to_grid: {zeros.__name__}"] += 1
        known = latents.dtype.name in {"float32", "float64"} and latents.dtype.isnative
        fits = latents.ndim == 2 and dim > 0 and len(levels) == dim and threads > 0
        whole = known and not odd(latents) and stands_for.itemsize > 1
        assert not (whole and fits and limits.dtype == latents.dtype), (latents.dtype, levels)
        return
    seen["round_to_grid: codes"] += 1
    digits = (limits[None] < latents[:, :, None]).sum(2)
    assert (vectors == stands_for[np.arange(dim), digits]).all(), (limits, latents, vectors)
    places = np.cumprod([1, *levels[:-1]], dtype=np.uint64)
    joined = (digits.astype(np.uint64) * places).sum(1, dtype=np.uint64)
    assert (codes.view(np.uint64) == joined).all(), (codes, digits)
    assert zeros == (digits == 0).sum(), (zeros, digits)


def fuzz_one(data: bytes) -> None:
    """Check one input of the fuzzer."""
    fuzz = atheris.FuzzedDataProvider(data)
    isa = fuzz.PickValueInList(_native.isas())
    threads = fuzz.ConsumeIntInRange(0, 3)
    os.environ["CERTVQ_ISA"] = isa
    os.environ["CERTVQ_NUM_THREADS"] = str(max(threads, 1))
    codebook = any_array(fuzz, MOST_CODES)
    latents = any_array(fuzz, 30, codebook.shape[1] if codebook.ndim == 2 else None)
    with np.errstate(all="ignore"):
        for array in (latents, codebook):
            check_norms(array)
        for bits in (lambda a: a, lambda a: a.view("u2") if a.dtype == np.float16 else a):
            check_kernel(bits(latents), bits(codebook), isa, threads)
        check_public(latents, codebook)
        check_grid(fuzz, latents, threads)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Draw anew or change the bytes: where sanitizers take libFuzzer's eyes, drawing has to do."""
    if len(data) < 50 or seed % 3 == 0:
        source = random.Random(seed)  # noqa: S311
        return source.randbytes(source.randint(50, most))
    return atheris.Mutate(data, len(data))


def fuzz_and_count(data: bytes) -> None:
    """Check one input; say now and then what came out, for libFuzzer ends the process by itself."""
    global said
    seen["inputs"] += 1
    fuzz_one(data)
    if time.monotonic() - said > 5:
        said = time.monotonic()
        print(", ".join(f"{count} {what}" for what, count in seen.most_common()), flush=True)


said = time.monotonic()


def self_test() -> None:
    """Spoil one code in each answer of the kernel: inputs drawn at random must reveal it."""
    right = codes_of

    def wrong(latents: np.ndarray, codebook: np.ndarray, backend: str) -> np.ndarray:
        codes = right(latents, codebook, backend)
        return codes + (backend == "native")

    globals()["codes_of"] = wrong
    rng = np.random.default_rng(0)
    for _ in range(2000):
        try:
            fuzz_one(rng.bytes(600))
        except AssertionError:
            return
    sys.exit("spoilt codes were not noticed")


if __name__ == "__main__":
    if "--self-test" in sys.argv:
        self_test()
        sys.exit()
    atheris.Setup(sys.argv, fuzz_and_count, custom_mutator=mutate)
    atheris.Fuzz()
