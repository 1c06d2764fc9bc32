"""Find the codes of a model that depend on the rounding of its encoder.

In: nothing. Out: for a small VQ-VAE and for a residual quantizer behind a linear encoder, how far
latents move in another precision or batch, how far they may move before their code can change, how
many tokens could flip, and how many did.

    python examples/which_tokens_can_flip.py
"""

import torch
from torch import nn

import certvq
from certvq.models import VQVAE, VQVAEConfig
from certvq.nn import ResidualVQ

WAYS = ("precision", "batch", "bfloat16")


def show(name: str, model: nn.Module, data: torch.Tensor) -> None:
    """Print a report for each way to run the model a second time."""
    for way in WAYS:
        report = certvq.stability_report(model, data, perturbation=way)
        print(f"{name}, {way}")
        print(report, end="\n\n")


def main() -> None:
    """Print the reports."""
    generator = torch.Generator().manual_seed(0)
    model = VQVAE(VQVAEConfig.small(), generator=generator).train()
    images = torch.rand(8, 3, 48, 48, generator=generator)
    model(images)  # the codebook starts from the latents
    show("VQ-VAE", model, images)

    torch.manual_seed(0)
    residual = nn.Sequential(nn.Linear(32, 16), ResidualVQ(16, 256, num_quantizers=4)).train()
    features = torch.randn(8, 500, 32)
    residual(features)
    show("residual", residual, features)


if __name__ == "__main__":
    main()
