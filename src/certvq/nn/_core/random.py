"""Random choices that are the same on every device.

In: a `torch.Generator` or None, torch's default one. Out: numbers drawn on the generator's own
device and moved to where they are needed. Must not know what they are for.
"""

import torch

from certvq.nn._core.float64 import brought, widest


def uniform(count: int, generator: torch.Generator | None, device: torch.device) -> torch.Tensor:
    """Draw `count` numbers of [0, 1), float64; float32 where one of the devices has none."""
    home = _home(generator)
    drawn = torch.rand(count, generator=generator, device=home, dtype=widest(home))
    return brought(drawn, device)


def normal(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    """Draw standard normal numbers, float64; float32 where one of the devices has none."""
    home = _home(generator)
    drawn = torch.randn(shape, generator=generator, device=home, dtype=widest(home))
    return brought(drawn, device)


def permutation(
    count: int, generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    """Draw a permutation of ``range(count)``, int64."""
    return torch.randperm(count, generator=generator, device=_home(generator)).to(device)


def integers(
    below: int, count: int, generator: torch.Generator | None, device: torch.device
) -> torch.Tensor:
    """Draw `count` integers of ``range(below)``, int64."""
    home = _home(generator)
    return torch.randint(below, (count,), generator=generator, device=home).to(device)


def exponential(
    shape: tuple[int, ...],
    generator: torch.Generator | None,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Draw exponential numbers of mean one.

    There is one for each latent and code where codes are sampled, so that without a generator they
    are drawn where they are needed, by the default generator of that device.
    """
    home = device if generator is None else generator.device
    return torch.empty(shape, dtype=dtype, device=home).exponential_(generator=generator).to(device)


def _home(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device
