"""Count the wrong codes of a model's quantizer, then certify them.

In: nothing. Out: for a small encoder with the residual quantizer of vector-quantize-pytorch, and
latents around several means: what `certvq.audit_module` finds before and after
`certvq.patch_module`.

    pip install vector-quantize-pytorch
    python examples/audit_a_model.py
"""

import torch
from torch import nn
from vector_quantize_pytorch import ResidualVQ

import certvq

DIM, CODES, LEVELS = 16, 256, 2


class Encoder(nn.Module):
    """Patches of pictures to latents around a mean, and these to codes."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, DIM, kernel_size=4, stride=4)
        self.quantizer = ResidualVQ(dim=DIM, codebook_size=CODES, num_quantizers=LEVELS)
        nn.init.constant_(self.patches.bias, mean)
        for level, layer in enumerate(self.quantizer.layers):
            codebook = 0.3 * torch.randn(CODES, DIM)
            layer.codebook = codebook + mean if level == 0 else codebook / 4

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the codes (B, patches, LEVELS) of pictures (B, 3, H, W)."""
        latents = self.patches(pictures).flatten(2).transpose(1, 2)
        return self.quantizer(latents)[1]


def main() -> None:
    """Print what the audits find."""
    torch.manual_seed(0)
    batches = [torch.rand(4, 3, 64, 64) for _ in range(4)]
    for mean in (0.0, 10.0, 1000.0):
        model = Encoder(mean)
        print(f"mean {mean:g}, its own codes")
        print(certvq.audit_module(model, batches))
        certvq.patch_module(model)
        print(f"mean {mean:g}, patched")
        print(certvq.audit_module(model, batches), end="\n\n")


if __name__ == "__main__":
    main()
