"""The operators of torch: the contract, shapes without numbers, vmap, autograd."""

import ast
from pathlib import Path

import pytest
import torch

import certvq
from certvq.errors import DeviceError, NonFiniteError
from certvq.nn import straight_through
from certvq.nn._core.search import assign_operator
from certvq.nn._estimators.estimator import straight_through_operator


def data(seeded, *, books=None):
    lead = () if books is None else (books,)
    latents = torch.randn(*lead, 20, 3, generator=seeded()) + 100.0
    codebook = torch.randn(*lead, 9, 3, generator=seeded(1)) + 100.0
    return latents, codebook


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_operator_is_assign(dtype, seeded):
    latents, codebook = (part.to(dtype) for part in data(seeded))
    codes, decided_by, sqdist = torch.ops.certvq.assign(latents, codebook)
    expected = certvq.assign(latents, codebook, backend="reference")
    assert torch.equal(codes, expected.codes)
    assert decided_by.dtype == torch.uint8
    assert sqdist.dtype == torch.float64
    assert decided_by.shape == sqdist.shape == codes.shape


def test_torch_finds_nothing_wrong_with_the_operators(seeded):
    """Schema, fake implementation, autograd registration, tracing with dynamic shapes."""
    latents, codebook = data(seeded)
    codes = assign_operator(latents, codebook)[0]
    torch.library.opcheck(assign_operator, (latents, codebook))
    torch.library.opcheck(straight_through_operator, (latents.requires_grad_(), codebook, codes))


def test_one_tensor_without_numbers_is_refused_and_two_give_shapes(seeded):
    latents, codebook = data(seeded)
    match = r"must both have numbers, .* got latents on (cpu|meta) and a codebook on (cpu|meta)"
    for given in ((latents.to("meta"), codebook), (latents, codebook.to("meta"))):
        with pytest.raises(DeviceError, match=match):
            torch.ops.certvq.assign(*given)
    codes, *_ = torch.ops.certvq.assign(latents.to("meta"), codebook.to("meta"))
    assert (codes.device.type, codes.shape) == ("meta", (20,))


def test_errors_keep_their_names(seeded):
    latents, codebook = data(seeded)
    latents[7, 2] = float("nan")
    with pytest.raises(NonFiniteError, match="row 7, column 2"):
        torch.ops.certvq.assign(latents, codebook)


@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0), (1, 2)])
def test_vmap_over_latents_and_codebooks(in_dims, seeded):
    latents, codebook = data(seeded, books=4)
    if in_dims == (1, 2):
        moved = latents.movedim(0, 1), codebook.movedim(0, 2)
    else:
        moved = tuple(
            part[0] if dim is None else part
            for part, dim in zip((latents, codebook), in_dims, strict=True)
        )
    codes, *_ = torch.vmap(torch.ops.certvq.assign, in_dims=in_dims)(*moved)
    for place in range(4):
        z = latents[0 if in_dims[0] is None else place]
        c = codebook[0 if in_dims[1] is None else place]
        assert torch.equal(codes[place], certvq.assign(z, c, backend="reference").codes)


def test_straight_through_gives_the_same_as_the_function(seeded, same_bits):
    latents, codebook = data(seeded)
    codes = assign_operator(latents, codebook)[0]
    results = []
    for look_up in (straight_through, torch.ops.certvq.straight_through):
        z = latents.bfloat16().requires_grad_()
        vectors = look_up(z, codebook, codes)
        (vectors * codebook[:1]).sum().backward()
        results.append((vectors, z.grad))
    assert all(same_bits(left, right) for left, right in zip(*results, strict=True))


@pytest.mark.parametrize("in_dims", [(0, 0, 0), (0, None, 0), (None, 0, 0), (0, 0, None)])
def test_vmap_of_straight_through(in_dims, seeded, same_bits):
    latents, codebook = data(seeded, books=4)
    codes = torch.randint(9, (4, 20), generator=seeded(2))
    inputs = [
        part[0] if dim is None else part
        for part, dim in zip((latents, codebook, codes), in_dims, strict=True)
    ]
    vectors = torch.vmap(torch.ops.certvq.straight_through, in_dims=in_dims)(*inputs)
    for place in range(4):
        c = codebook[0 if in_dims[1] is None else place]
        assert same_bits(vectors[place], c[codes[0 if in_dims[2] is None else place]])


def test_the_oldest_torch_knows_the_operators():
    """torch 2.6 infers no schema where a parameter is a ``list[...]``; it must be written down."""
    root = Path(certvq.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
            made = [each for each in calls if ast.unparse(each.func) == "torch.library.custom_op"]
            annotations = [ast.unparse(each.annotation) for each in node.args.args if made]
            found += made
            if any(text.startswith("list[") for text in annotations):
                assert "schema" in [keyword.arg for keyword in made[0].keywords], path
    assert len(found) >= 6, "the operators are written another way; look for that"
