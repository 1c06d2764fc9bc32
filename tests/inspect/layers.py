"""Small layers that behave as the published ones do, written for the tests."""

import torch
from torch import nn
from torch.nn import functional


class VectorQuantizer2(nn.Module):
    """As in taming-transformers: (B, C, H, W) to (z_q, loss, (None, None, codes))."""

    def __init__(self, n_e, e_dim, beta):
        super().__init__()
        self.n_e, self.e_dim, self.beta = n_e, e_dim, beta
        self.embedding = nn.Embedding(n_e, e_dim)

    def forward(self, z):
        z = z.permute(0, 2, 3, 1).contiguous()
        flat = z.view(-1, self.e_dim)
        codebook = self.embedding.weight
        product = torch.einsum("bd,dn->bn", flat, codebook.t())
        d = flat.pow(2).sum(1, keepdim=True) + codebook.pow(2).sum(1) - 2 * product
        codes = torch.argmin(d, dim=1)
        z_q = self.embedding(codes).view(z.shape)
        loss = self.beta * (z_q.detach() - z).pow(2).mean() + (z_q - z.detach()).pow(2).mean()
        z_q = z + (z_q - z).detach()
        return z_q.permute(0, 3, 1, 2).contiguous(), loss, (None, None, codes)


class VectorQuantizer(nn.Module):
    """As in LlamaGen: normalised latents and code vectors, an entropy loss in training."""

    def __init__(self, n_e, e_dim, *, l2_norm=True):
        super().__init__()
        self.e_dim, self.l2_norm = e_dim, l2_norm
        self.embedding = nn.Embedding(n_e, e_dim)

    def forward(self, z):
        z = torch.einsum("b c h w -> b h w c", z).contiguous()
        flat, codebook = z.view(-1, self.e_dim), self.embedding.weight
        if self.l2_norm:
            z, flat, codebook = (
                functional.normalize(each, p=2, dim=-1) for each in (z, flat, codebook)
            )
        d = (flat**2).sum(1, keepdim=True) + (codebook**2).sum(1)
        d = d - 2 * torch.einsum("bd,dn->bn", flat, torch.einsum("n d -> d n", codebook))
        codes = torch.argmin(d, dim=1)
        z_q = codebook[codes].view(z.shape)
        losses = None
        if self.training:
            entropy = -(functional.softmax(-d, -1) * functional.log_softmax(-d, -1)).sum(-1).mean()
            losses = ((z_q - z.detach()).pow(2).mean(), (z_q.detach() - z).pow(2).mean(), entropy)
        z_q = z + (z_q - z).detach()
        return torch.einsum("b h w c -> b c h w", z_q), losses, (None, None, codes)


class EMAVectorQuantizer(nn.Module):
    """As in taming-transformers: code vectors are moving averages in a module of their own."""

    def __init__(self, n_e, e_dim, *, decay=0.9):
        super().__init__()
        self.e_dim, self.decay = e_dim, decay
        self.embedding = nn.Module()
        self.embedding.weight = nn.Parameter(torch.randn(n_e, e_dim), requires_grad=False)

    def forward(self, z):
        z = self.prepared(z.permute(0, 2, 3, 1).contiguous())
        flat, weight = z.reshape(-1, self.e_dim), self.embedding.weight
        d = flat.pow(2).sum(1, keepdim=True) + weight.pow(2).sum(1)
        codes = (d - 2 * torch.einsum("bd,nd->bn", flat, weight)).argmin(dim=1)
        z_q = weight[codes].view(z.shape)
        if self.training:
            one_hot = functional.one_hot(codes, len(weight)).type(z.dtype)
            count, total = one_hot.sum(0)[:, None], one_hot.t() @ flat.detach()
            mean = torch.where(count > 0, total / count.clamp(min=1), weight)
            weight.data.copy_(self.prepared(weight.lerp(mean, 1 - self.decay)))
        loss = functional.mse_loss(z_q.detach(), z)
        z_q = z + (z_q - z).detach()
        return z_q.permute(0, 3, 1, 2), loss, (None, None, codes)

    def prepared(self, vectors):
        return vectors


class NormEMAVectorQuantizer(EMAVectorQuantizer):
    """As in BEiT v2: the same with vectors of length 1."""

    def prepared(self, vectors):
        return functional.normalize(vectors, p=2, dim=-1)


class OneHotQuantizer(nn.Module):
    """As the first VQ-VAE ports: ``unsqueeze``, a one-hot matrix, ``matmul`` for distances."""

    def __init__(self, n_e, e_dim):
        super().__init__()
        self.embedding = nn.Embedding(n_e, e_dim)

    def forward(self, z):
        weight = self.embedding.weight
        d = (z**2).sum(1, keepdim=True) + (weight**2).sum(1) - 2 * torch.matmul(z, weight.t())
        codes = torch.argmin(d, dim=1).unsqueeze(1)
        one_hot = torch.zeros(len(z), len(weight), dtype=z.dtype).scatter_(1, codes, 1)
        return torch.matmul(one_hot, weight), codes


OneHotQuantizer.__name__ = OneHotQuantizer.__qualname__ = "VectorQuantizer"


class VectorQuantize(nn.Module):
    """As in descript-audio-codec: (B, D, T), factorised and normalised codes."""

    def __init__(self, input_dim, codebook_size, codebook_dim):
        super().__init__()
        self.in_proj = nn.Conv1d(input_dim, codebook_dim, 1)
        self.out_proj = nn.Conv1d(codebook_dim, input_dim, 1)
        self.codebook = nn.Embedding(codebook_size, codebook_dim)

    def forward(self, z):
        projected = self.in_proj(z)
        z_q, codes = self.decode_latents(projected)
        return self.out_proj(projected + (z_q - projected).detach()), codes, projected

    def decode_latents(self, latents):
        flat = functional.normalize(latents.permute(0, 2, 1).reshape(-1, latents.shape[1]))
        codebook = functional.normalize(self.codebook.weight)
        dist = (
            flat.pow(2).sum(1, keepdim=True)
            - 2 * flat @ codebook.t()
            + codebook.pow(2).sum(1, keepdim=True).t()
        )
        codes = (-dist).max(1)[1].reshape(len(latents), -1)
        return self.codebook(codes).transpose(1, 2), codes


class MossAudioTokenizerLFQ(VectorQuantize):
    """As in the MOSS audio tokenizer: no signs, despite its name, but likewise a normalised search.

    It computes in float32 whatever it is given, and looks code vectors up by a function.
    """

    def forward(self, z):
        projected = self.in_proj(z.float()).float()
        z_q, codes = self.decode_latents(projected)
        return self.out_proj((projected + (z_q - projected).detach()).float()), codes, projected

    def decode_latents(self, latents):
        flat = latents.transpose(1, 2).reshape(-1, latents.shape[1]).float()
        flat, codebook = functional.normalize(flat), functional.normalize(self.codebook.weight)
        dist = (
            flat.pow(2).sum(1, keepdim=True)
            - 2 * flat @ codebook.t()
            + codebook.pow(2).sum(1, keepdim=True).t()
        )
        codes = (-dist).max(1)[1].reshape(latents.size(0), -1)
        return functional.embedding(codes, self.codebook.weight).transpose(1, 2).float(), codes


class MossAudioTokenizerVectorQuantize(nn.Module):
    """As in the MOSS audio tokenizer, whose distances are those of the projections as they are."""

    def __init__(self, input_dim, codebook_size, codebook_dim):
        super().__init__()
        self.in_proj = nn.Conv1d(input_dim, codebook_dim, 1)
        self.out_proj = nn.Conv1d(codebook_dim, input_dim, 1)
        self.codebook = nn.Embedding(codebook_size, codebook_dim)

    @torch.no_grad()
    def forward(self, z):
        projected = self.in_proj(z.float()).float()
        flat = projected.transpose(1, 2).reshape(-1, projected.shape[1])
        weight = self.codebook.weight
        dist = (
            flat.pow(2).sum(1, keepdim=True)
            - 2 * flat @ weight.float().t()
            + weight.float().pow(2).sum(1, keepdim=True).t()
        )
        codes = (-dist).max(1)[1].reshape(z.size(0), -1)
        return self.out_proj(self.codebook(codes).transpose(1, 2).float()), codes, projected


class EuclideanCodebook(nn.Module):
    """As in encodec and audiocraft: (..., D) to (vectors, codes); the codebook is a buffer."""

    def __init__(self, dim, codebook_size):
        super().__init__()
        self.register_buffer("embed", torch.randn(codebook_size, dim))

    def quantize(self, x):
        embed = self.embed.t()
        squares = x.pow(2).sum(1, keepdim=True) + embed.pow(2).sum(0, keepdim=True)
        return (2 * x @ embed - squares).max(dim=-1).indices

    def forward(self, x):
        codes = self.quantize(x.reshape(-1, x.shape[-1])).view(x.shape[:-1])
        return functional.embedding(codes, self.embed), codes


class VQEmbedding(nn.Embedding):
    """As in RQ-VAE: an embedding with one row more than there are codes, for padding."""

    def __init__(self, codebook_size, dim):
        super().__init__(codebook_size + 1, dim, padding_idx=codebook_size)

    def find_nearest_embedding(self, x):
        codebook, flat = self.weight[:-1].t(), x.reshape(-1, x.shape[-1])
        squares = flat.pow(2.0).sum(1, keepdim=True) + codebook.pow(2.0).sum(0, keepdim=True)
        distances = torch.addmm(squares, flat, codebook, alpha=-2.0)
        return distances.reshape(*x.shape[:-1], -1).argmin(dim=-1)

    def forward(self, x):
        codes = self.find_nearest_embedding(x.detach())
        return super().forward(codes), codes
