"""Small scalar quantizers that behave as published ones do, written for the tests."""

import torch
from torch import nn


class FSQuantizer(nn.Module):
    """As in the Cosmos tokenizers: the index is a float sum, cut off to an integer."""

    def __init__(self, levels, *, eps=1e-3, kind=torch.float32):
        super().__init__()
        self.eps, self.kind = eps, kind
        self.register_buffer("_levels", torch.tensor(levels, dtype=torch.int32))
        basis = torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)
        self.register_buffer("_basis", basis)

    def bound(self, z):
        half = (self._levels - 1) * (1 + self.eps) / 2
        offset = torch.where(self._levels % 2 == 0, 0.5, 0.0)
        return (z + (offset / half).atanh()).tanh() * half - offset

    def quantize(self, z):
        bounded = self.bound(z)
        return (bounded + (bounded.round() - bounded).detach()) / (self._levels // 2)

    def _scale_and_shift(self, values):
        half = self._levels // 2
        return values * half + half

    def _scale_and_shift_inverse(self, places):
        half = self._levels // 2
        return (places - half) / half

    def codes_to_indices(self, values):
        places = self._scale_and_shift(values).to(self.kind)
        return (places * self._basis.to(self.kind)).sum(-1).to(torch.int64)

    def forward(self, z):
        values = self.quantize(z)
        return self.codes_to_indices(values), values


class FSQCodebook(nn.Module):
    """As in S3Tokenizer: three levels of eight features."""

    def __init__(self, dim, level=3):
        super().__init__()
        self.project_down, self.level = nn.Linear(dim, 8), level

    @torch.inference_mode()
    def encode(self, x):
        h = self.project_down(x.flatten(0, -2)).float().tanh() * 0.9990000128746033
        powers = torch.pow(self.level, torch.arange(8, dtype=h.dtype))
        return ((h.round() + 1) * powers).sum(-1).reshape(x.shape[:2]).int()


class EuclideanCodebook(nn.Module):
    """As in moshi: code vectors that are made of sums once and kept."""

    def __init__(self, dim, size):
        super().__init__()
        self.epsilon = 1e-5
        self.register_buffer("cluster_usage", torch.ones(size))
        self.register_buffer("embedding_sum", torch.randn(size, dim))
        self.register_buffer("_embedding", None, persistent=False)

    @property
    def embedding(self):
        if self._embedding is None:
            self._embedding = (
                self.embedding_sum / self.cluster_usage.clamp(min=self.epsilon)[:, None]
            )
        return self._embedding

    def _quantize(self, x):
        return torch.cdist(x[None], self.embedding[None], p=2)[0].argmin(dim=-1)

    def encode(self, x):
        return self._quantize(x.flatten(0, -2)).view(x.shape[:-1])


FSQCodebook.__module__ = "s3tokenizer.model_v2"
EuclideanCodebook.__module__ = "moshi.quantization.core_vq"
