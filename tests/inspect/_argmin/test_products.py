"""Operands of products, in every notation that models use."""

import pytest
import torch

from certvq.inspect._argmin.products import read_product

Z, C = torch.randn(5, 3), torch.randn(7, 3)
HEADS, BOOKS = torch.randn(2, 5, 3), torch.randn(2, 7, 3)


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (torch.cdist, (Z, C), {}),
        (torch.cdist, (Z[None], C[None]), {"p": 2}),
        (torch.matmul, (Z, C.t()), {}),
        (torch.Tensor.__matmul__, (Z, C.t()), {}),
        (torch.mm, (Z, C.t()), {}),
        (torch.addmm, (torch.zeros(7), Z, C.t()), {"alpha": -2}),
        (torch.nn.functional.linear, (Z, C), {}),
        (torch.einsum, ("bd,dn->bn", Z, C.t()), {}),
        (torch.einsum, ("bd,nd->bn", Z, C), {}),
        (torch.einsum, ("d b, n d -> b n", Z.t(), C), {}),
        (torch.einsum, ("bd,nd->bn", [Z, C]), {}),
        (torch.einsum, ("abd,nd->abn", Z[None], C), {}),
        (torch.bmm, (Z[None], C.t()[None]), {}),
    ],
)
def test_one_codebook(func, args, kwargs):
    func(*args, **kwargs)
    found = read_product(func, args, kwargs)
    assert torch.equal(found.latents, Z[None])
    assert torch.equal(found.codebook, C[None])


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (torch.cdist, (HEADS, BOOKS)),
        (torch.bmm, (HEADS, BOOKS.mT)),
        (torch.einsum, ("h n d, h c d -> h n c", HEADS, BOOKS)),
        (torch.einsum, ("hnad,hcd->hnac", HEADS.unsqueeze(2), BOOKS)),
    ],
)
def test_codebooks_side_by_side(func, args):
    func(*args)
    found = read_product(func, args, {})
    assert torch.equal(found.latents, HEADS)
    assert torch.equal(found.codebook, BOOKS)


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (torch.add, (Z, Z), {}),
        (torch.cdist, (Z, C), {"p": 1.0}),
        (torch.matmul, (Z, C[0]), {}),
        (torch.nn.functional.linear, (Z, C, torch.ones(7)), {}),
        (torch.einsum, ("bd,nd->nb", Z, C), {}),  # codes are not the last axis
        (torch.einsum, ("bd->b", Z), {}),
        (torch.einsum, ("bd,nd->b", Z, C), {}),
        (torch.einsum, ("bd,bd->bd", Z, Z), {}),
        (torch.einsum, ("...d,nd->...n", Z, C), {}),
    ],
)
def test_no_product_with_one_codebook(func, args, kwargs):
    assert read_product(func, args, kwargs) is None


OWN = torch.randn(2, 5, 7, 3)


@pytest.mark.parametrize(
    ("func", "args", "kwargs", "shift"),
    [
        (torch.einsum, ("h n d, h n c d -> h n c", HEADS, OWN), {}, 0.0),
        (torch.einsum, ("hnd,hndc->hnc", HEADS, OWN.mT), {}, 0.0),
        (torch.pairwise_distance, (HEADS.unsqueeze(2), OWN), {}, 1e-6),
        (torch.nn.functional.pairwise_distance, (HEADS.unsqueeze(2), OWN), {"eps": 0.5}, 0.5),
    ],
)
def test_code_vectors_of_each_latent(func, args, kwargs, shift):
    func(*args, **kwargs)
    found = read_product(func, args, kwargs)
    assert (found.own, found.shift) == (True, shift)
    assert torch.equal(found.latents, HEADS.reshape(10, 1, 3))
    assert torch.equal(found.codebook, OWN.reshape(10, 7, 3))
    assert found.fits(torch.zeros(2, 5, 7))
    assert not found.fits(torch.zeros(2, 5, 5))


def test_one_latent_with_its_code_vectors():
    found = read_product(torch.pairwise_distance, (Z[:1], C), {})
    assert torch.equal(found.latents, Z[:1][None])
    assert torch.equal(found.codebook, C[None])


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((Z, Z), {}),  # pairs of rows, no code vectors
        ((Z[:1], C), {"p": 1.0}),
        ((Z[:1], C), {"keepdim": True}),
        ((HEADS.unsqueeze(2), OWN[:1]), {}),  # one latent's vectors broadcast over others
        ((Z[0], C[0]), {}),
    ],
)
def test_other_pairwise_distances_are_none(args, kwargs):
    torch.pairwise_distance(*args, **kwargs)
    assert read_product(torch.pairwise_distance, args, kwargs) is None
