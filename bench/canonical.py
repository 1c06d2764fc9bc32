"""Time and memory of canonical codes beside those of a plain encode.

In: a model directory, the name of a codec or nothing; a size, or the demo's held-out photographs.
Out: JSON. The competitors alternate within one process; ratios are medians of pairs. Memory is what
a process of its own takes at most, less what it has before it encodes. Codecs of other libraries
are small and have random weights; the code vectors of VQModel, EnCodec and Mimi are latents of
another input, those of further levels random and half as long each time.

    python bench/canonical.py --model runs/demo/model --photographs
    python bench/canonical.py --codec dac --size 4096
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from certvq.data import BUNDLED_HELDOUT, bundled_photographs, split_by_photograph
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import CanonicalEncoder, canonical_codes

Encode = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a model directory; default: random weights")
    parser.add_argument("--codec", choices=sorted(CODECS), help="a model of another library")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side, or samples")
    parser.add_argument(
        "--photographs", action="store_true", help="the demo's held-out photographs, one by one"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, batch, plainly = _given(given.codec, given.model, given.size)
    batches = _photographs() if given.photographs else [batch]
    encode = CanonicalEncoder(model)
    found = [encode(batch) for batch in batches]
    with torch.no_grad():
        plain = [plainly(batch) for batch in batches]
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: [plainly(batch) for batch in batches],
        "reused": lambda: [encode(batch) for batch in batches],
    }
    if given.codec is None:
        ways["captured"] = lambda: [canonical_codes(model, batch) for batch in batches]
    seconds = _alternate(ways, given.rounds)
    base = seconds["plain"]
    counts = [each.counts() for each in found]
    pairs = zip(plain, found, strict=True)
    figures = {
        "codes": sum(each.codes.numel() for each in found),
        "decided_by": {rung: sum(each[rung] for each in counts) for rung in counts[0]},
        "other_codes_in_float32": sum(
            int((codes.reshape(each.codes.shape) != each.codes).sum()) for codes, each in pairs
        ),
        "plain_seconds": statistics.median(base),
        "ratio": {
            name: statistics.median(a / b for a, b in zip(each, base, strict=True))
            for name, each in seconds.items()
        },
        "mib": {way: _in_a_process(_peak, way, given, batches) for way in ("plain", "reused")},
        "threads": given.threads,
    }
    print(json.dumps(figures, indent=2))


def _given(
    codec: str | None, path: Path | None, size: int
) -> tuple[nn.Module, torch.Tensor, Encode]:
    """Return a model in eval mode, a batch, and the encode of the model itself."""
    if codec is not None:
        torch.manual_seed(0)
        return CODECS[codec](size)
    model = _model(path)
    return model, _batch(size), lambda batch: model.encode(_scaled(batch))


def _dac(size: int) -> tuple[nn.Module, torch.Tensor, Encode]:
    from transformers import DacConfig, DacModel

    config = DacConfig(encoder_hidden_size=32, n_codebooks=4, codebook_size=256)
    model: Any = DacModel(config).eval()
    return (
        model,
        torch.randn(1, 1, size),
        lambda sounds: model.encode(sounds).audio_codes.movedim(1, -1),
    )


@torch.no_grad()
def _encodec(size: int) -> tuple[nn.Module, torch.Tensor, Encode]:
    from transformers import EncodecConfig, EncodecModel

    sizes = {"num_filters": 8, "hidden_size": 64, "codebook_dim": 64, "codebook_size": 256}
    model: Any = EncodecModel(EncodecConfig(target_bandwidths=[2.4], **sizes)).eval()
    latents = model.encoder(torch.randn(1, 1, 320 * 256))[0].T
    for level, layer in enumerate(model.quantizer.layers):
        layer.codebook.embed.copy_(_rows(latents, level))
    return (
        model,
        torch.randn(1, 1, size),
        lambda sounds: model.encode(sounds, bandwidth=2.4).audio_codes[0].movedim(1, -1),
    )


@torch.no_grad()
def _mimi(size: int) -> tuple[nn.Module, torch.Tensor, Encode]:
    from transformers import MimiConfig, MimiModel

    sizes = {"num_filters": 8, "hidden_size": 64, "codebook_dim": 32, "codebook_size": 256}
    sizes |= {"num_quantizers": 4, "num_semantic_quantizers": 1, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    sizes |= {"intermediate_size": 128, "vector_quantization_hidden_dimension": 32}
    config = MimiConfig(upsample_groups=64, **sizes)
    model: Any = MimiModel(config).eval()
    given = model.encoder(torch.randn(1, 1, 1920 * 256), use_streaming=False).latents
    halves = model.quantizer
    for half in (
        halves.semantic_residual_vector_quantizer,
        halves.acoustic_residual_vector_quantizer,
    ):
        latents = given if half.input_proj is None else half.input_proj(given)
        for level, layer in enumerate(half.layers):
            layer.codebook.embed_sum.copy_(_rows(latents[0].T, level))
            layer.codebook.cluster_usage.fill_(1.0)
            layer.codebook._embed = None  # noqa: SLF001 (quotients that it keeps)
    return (
        model,
        torch.randn(1, 1, size),
        lambda sounds: model.encode(sounds).audio_codes.movedim(1, -1),
    )


def _rows(latents: torch.Tensor, level: int) -> torch.Tensor:
    """Return 256 code vectors of a level of a residual quantizer."""
    if level == 0:
        return latents[torch.randperm(len(latents))[:256]]
    return torch.randn(256, latents.shape[1]) * latents.std(0) * 0.5**level


def _vq_model(size: int) -> tuple[nn.Module, torch.Tensor, Encode]:
    from diffusers.models.autoencoders.vq_model import VQModel

    model: Any = VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        num_vq_embeddings=64,
    ).eval()
    with torch.no_grad():
        latents = model.encode(torch.rand(1, 3, 64, 64)).latents.flatten(2)[0].T
        model.quantize.embedding.weight.copy_(latents[torch.randperm(len(latents))[:64]])
    return model, _batch(size), lambda images: model.quantize(model.encode(images).latents)[2][2]


CODECS = {"dac": _dac, "encodec": _encodec, "mimi": _mimi, "vqmodel": _vq_model}


def _model(path: Path | None) -> VQVAE:
    if path is not None:
        return VQVAE.from_pretrained(path).eval()
    model = VQVAE(VQVAEConfig(), generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        model(_batch(256))  # the codebook starts from the latents
    return model.eval()


def _batch(size: int) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def _photographs() -> list[torch.Tensor]:
    held = split_by_photograph(bundled_photographs(), heldout=BUNDLED_HELDOUT, seed=0).validation
    return [torch.tensor(each.pixels).permute(2, 0, 1)[None] for each in held]


def _scaled(batch: torch.Tensor) -> torch.Tensor:
    return batch / 255 if batch.dtype == torch.uint8 else batch


def _in_a_process(function: Callable[..., float], *arguments: object) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _peak(way: str, given: argparse.Namespace, batches: list[torch.Tensor]) -> float:
    """Return the MiB that a way takes beyond what the process has once it is ready to encode."""
    model, _, plainly = _given(given.codec, given.model, given.size)
    encode = CanonicalEncoder(model)
    for batch in batches:
        encode._reused.ready(batch)  # noqa: SLF001 (captures, and encodes nothing)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    with torch.no_grad():
        for batch in batches:
            encode(batch) if way == "reused" else plainly(batch)
    return round(_status("VmHWM") - before, 1)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _alternate(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
