"""What a user of layers writes: a model of their own around a quantizer, a step, its codes."""

import torch
from torch import Tensor, nn

from certvq.nn import EMA, FSQ, KMeans, Quantized, ResidualVQ, Revive, VectorQuantize


class Autoencoder(nn.Module):
    def __init__(self, quantizer: VectorQuantize | ResidualVQ | FSQ, dim: int) -> None:
        super().__init__()
        self.encode = nn.Linear(12, dim)
        self.quantizer = quantizer
        self.decode = nn.Linear(dim, 12)

    def forward(self, batch: Tensor) -> tuple[Tensor, Quantized]:
        found = self.quantizer(self.encode(batch))
        output: Tensor = self.decode(found.quantized)
        return output, found


def step(model: Autoencoder, optimizer: torch.optim.Optimizer, batch: Tensor) -> float:
    optimizer.zero_grad()
    output, found = model(batch)
    loss = (output - batch).square().mean() + found.loss
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def main() -> None:
    batch = torch.randn(2, 40, 12)
    quantizers: list[tuple[VectorQuantize | ResidualVQ | FSQ, int]] = [
        (VectorQuantize(8, 32, update=EMA(decay=0.9), start=KMeans(), revive=Revive()), 8),
        (ResidualVQ(8, 32, num_quantizers=2), 8),
        (FSQ((8, 5, 5)), 3),
    ]
    for quantizer, dim in quantizers:
        model = Autoencoder(quantizer, dim)
        optimizer = torch.optim.Adam(model.parameters())
        assert step(model, optimizer, batch) > 0
        codes: Tensor = model.quantizer.encode(model.encode(batch))
        assert model.quantizer.decode(codes).shape == (2, 40, dim)
        assert model.quantizer.metrics()["perplexity"] >= 1


if __name__ == "__main__":
    main()
