"""`certvq.assign` under the transformations of JAX: the codes are those of the CPU."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import certvq
from certvq.errors import DTypeError, ShapeError


@pytest.fixture
def given(rng):
    latents = rng.standard_normal((24, 5)).astype(np.float32)
    codebook = rng.standard_normal((9, 5)).astype(np.float32)
    latents[::3] = (codebook[rng.integers(0, 9, 8)] + codebook[rng.integers(0, 9, 8)]) / 2
    return latents, codebook


@pytest.fixture
def wide_types():
    """JAX with its 64-bit types."""
    with jax.enable_x64(True):
        yield


def same(found, expected):
    return np.array_equal(np.asarray(found), np.asarray(expected))


def test_codes_under_jit_are_those_of_the_cpu(given):
    found = jax.jit(certvq.assign)(*map(jnp.asarray, given))
    expected = certvq.assign(*given)
    assert same(found.codes, expected.codes)
    assert same(found.decided_by, expected.decided_by)
    assert same(found.sqdist, expected.sqdist.astype(np.float32))
    types = [found.codes.dtype, found.decided_by.dtype, found.sqdist.dtype]
    assert types == [np.int32, np.uint8, np.float32]


@pytest.mark.usefixtures("wide_types")
def test_codes_and_distances_have_64_bits_where_jax_has_them(given):
    found = jax.jit(certvq.assign)(*(jnp.asarray(a, jnp.float64) for a in given))
    expected = certvq.assign(*given)
    assert [found.codes.dtype, found.sqdist.dtype] == [np.int64, np.float64]
    assert same(found.codes, expected.codes)
    assert same(found.sqdist, expected.sqdist)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_types_are_read_exactly(given, dtype):
    latents, codebook = (jnp.asarray(a, dtype) for a in given)
    expected = certvq.assign(*(np.asarray(a, np.float32) for a in (latents, codebook))).codes
    assert same(jax.jit(certvq.assign)(latents, codebook).codes, expected)


def test_subnormal_numbers_are_kept(given):
    """The threads that XLA calls back from flush them; the codes are found in another."""
    tiny = [(a * np.float32(1e-38)).astype(np.float32) for a in given]
    assert (np.abs(tiny[0]) < 2.0**-126).mean() > 0.3
    found = jax.jit(certvq.assign)(*map(jnp.asarray, tiny)).codes
    assert same(found, certvq.assign(*tiny).codes)
    assert not same(found, np.zeros(24))


@pytest.mark.parametrize("prepare", [False, True])
def test_codebook_may_be_a_constant(given, prepare):
    latents, codebook = given
    constant = certvq.prepare(codebook) if prepare else codebook
    found = jax.jit(lambda z: certvq.assign(z, constant).codes)(latents)
    assert same(found, certvq.assign(latents, codebook).codes)


def test_latents_may_be_a_constant(given):
    latents, codebook = given
    found = jax.jit(lambda c: certvq.assign(latents, c, backend="numpy").codes)(codebook)
    assert same(found, certvq.assign(latents, codebook).codes)


def test_vmap_over_latents_is_one_call(given, monkeypatch):
    latents, codebook = given
    calls = []
    from certvq.assign import _jax

    whole = _jax._call_prepared
    monkeypatch.setattr(_jax, "_call_prepared", lambda *a: (calls.append(a[3].shape), whole(*a))[1])
    batches = latents.reshape(4, 6, 5)
    found = jax.jit(jax.vmap(certvq.assign, in_axes=(0, None)))(batches, codebook)
    assert found.codes.shape == found.sqdist.shape == (4, 6)
    assert same(found.codes.ravel(), certvq.assign(latents, codebook).codes)
    assert calls == [(4, 6, 5)]


def test_vmap_over_codebooks_and_over_both(given):
    latents, codebook = given
    books = np.stack([codebook, codebook[::-1], codebook * 2])
    found = jax.vmap(certvq.assign, in_axes=(None, 0))(latents, books).codes
    assert same(found, [certvq.assign(latents, book).codes for book in books])
    batches = np.stack([latents, -latents, latents + 1])
    found = jax.jit(jax.vmap(certvq.assign))(batches, books).codes
    assert same(found, [certvq.assign(z, c).codes for z, c in zip(batches, books, strict=True)])
    nested = jax.vmap(jax.vmap(certvq.assign, in_axes=(0, None)), in_axes=(None, 0))
    found = nested(batches, books).codes
    assert same(found, [[certvq.assign(z, c).codes for z in batches] for c in books])


def test_gradients_pass_by_the_codes(given):
    """A straight-through step: the gradients are those of the lookup, none of the codes."""

    def loss(latents, codebook):
        quantized = codebook[certvq.assign(latents, codebook).codes]
        through = latents + jax.lax.stop_gradient(quantized - latents)
        return (through**2).sum() / 2 + ((jax.lax.stop_gradient(latents) - quantized) ** 2).sum()

    latents, codebook = map(jnp.asarray, given)
    value, (at_latents, at_codebook) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        latents, codebook
    )
    quantized = codebook[certvq.assign(*given).codes]
    assert np.isfinite(value)
    assert np.allclose(at_latents, quantized, rtol=1e-6, atol=1e-6)
    expected = np.zeros_like(given[1])
    np.add.at(expected, np.asarray(certvq.assign(*given).codes), 2 * (quantized - latents))
    assert np.allclose(at_codebook, expected, rtol=1e-5, atol=1e-6)


def test_scan_calls_it_in_each_step(given):
    latents, codebook = given

    def step(count, batch):
        return count + 1, certvq.assign(batch, codebook).codes

    count, found = jax.lax.scan(step, 0, jnp.asarray(latents.reshape(4, 6, 5)))
    assert count == 4
    assert same(found.ravel(), certvq.assign(latents, codebook).codes)


@pytest.mark.filterwarnings("ignore")
def test_numbers_that_are_not_finite_are_named_when_the_function_runs(given, caplog):
    latents, codebook = given
    latents[7, 3] = np.nan
    match = "NonFiniteError: latents must be finite, got nan at row 7, column 3"
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match=match):
        jax.block_until_ready(jax.jit(certvq.assign)(latents, codebook).codes)


def test_shapes_and_types_are_refused_when_the_function_is_traced(given):
    latents, codebook = given
    assign = jax.jit(certvq.assign)
    with pytest.raises(ShapeError, match=r"same dim, got latents \(24, 3\) and a codebook of dim"):
        assign(latents[:, :3], codebook)
    with pytest.raises(ShapeError, match=r"latents must have two axes.*\(5,\)"):
        assign(latents[0], codebook)
    with pytest.raises(ShapeError, match=r"at least one row, got shape \(0, 5\)"):
        assign(latents, codebook[:0])
    with pytest.raises(DTypeError, match="latents must be one of float64.*got int32"):
        assign(latents.astype(np.int32), codebook)


def test_second_codes_on_request(given):
    expected = certvq.assign(*given, second=True)
    found = jax.jit(lambda z, c: certvq.assign(z, c, second=True))(*given)
    assert same(found.second, expected.second)
    assert jax.jit(certvq.assign)(*given).second is None
    latents, codebook = given
    batches = jax.vmap(lambda z: certvq.assign(z, codebook, second=True).second)
    assert same(batches(latents.reshape(4, 6, 5)).ravel(), expected.second)


def test_no_latents(given):
    assert jax.jit(certvq.assign)(given[0][:0], given[1]).codes.shape == (0,)


def test_arrays_that_are_not_traced_stay_in_jax(given):
    found = certvq.assign(*map(jnp.asarray, given))
    assert isinstance(found.codes, jax.Array)
    assert same(found.codes, certvq.assign(*given).codes)


def test_large_batches_do_not_hang(rng):
    latents = rng.standard_normal((200_000, 4)).astype(np.float32)
    found = jax.jit(lambda z: certvq.assign(z * 1, latents[:50]).codes)(latents)
    assert same(found, certvq.assign(latents, latents[:50]).codes)


def test_importing_certvq_loads_no_jax():
    code = "import sys, certvq; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
