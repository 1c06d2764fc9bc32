"""Digests follow their written definition and see every bit.

Also of `certvq.models._tensors`.
"""

import hashlib

import numpy as np
import pytest
import torch

from certvq.models import codebook_digest, model_digest
from certvq.models._digest import state_digest
from certvq.nn._torch.generators import without_generators


def test_the_definition():
    codebook = np.array([[1.0, -2.0, 0.5]], dtype="<f4")
    expected = hashlib.sha256(b"float32 1,3\n" + codebook.tobytes()).hexdigest()
    assert codebook_digest(torch.from_numpy(codebook)) == expected
    assert codebook_digest(codebook) == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_type_of_number_has_its_own(dtype):
    codebook = torch.tensor([[1.0, 2.0]])
    assert codebook_digest(codebook.to(dtype)) != codebook_digest(codebook)


def test_shape_sign_of_zero_and_order_matter_and_strides_do_not():
    codebook = torch.arange(6.0).reshape(2, 3)
    digest = codebook_digest(codebook)
    assert codebook_digest(codebook.reshape(3, 2)) != digest
    assert codebook_digest(codebook.flip(0)) != digest
    minus = codebook.clone()
    minus[0, 0] = -0.0
    assert codebook_digest(minus) != digest
    assert codebook_digest(codebook.T.contiguous().T) == digest
    assert codebook_digest(codebook.requires_grad_()) == digest


def test_a_model_is_hashed_tensor_by_tensor_in_order_of_names():
    layer = torch.nn.Linear(2, 1)
    bias, weight = (t.detach().numpy().astype("<f4") for t in (layer.bias, layer.weight))
    expected = hashlib.sha256(
        b"bias float32 1\n" + bias.tobytes() + b"weight float32 1,2\n" + weight.tobytes()
    ).hexdigest()
    assert model_digest(layer) == expected


def test_tensors_by_name_have_the_digest_of_their_model_in_any_order(model):
    backwards = dict(reversed(model.state_dict().items()))
    assert state_digest(backwards) == model_digest(model)


def test_every_tensor_of_a_model_counts(model):
    digest = model_digest(model)
    for name, tensor in without_generators(model.state_dict()).items():
        flat = tensor.view(-1)
        old = flat[0].clone()
        flat[0] = ~old if tensor.dtype == torch.bool else old + 1
        assert model_digest(model) != digest, name
        flat[0] = old
    assert model_digest(model) == digest
