"""Which decay, commitment weight and estimator win, on which data, in runs of which length?

In: settings of `VectorQuantize`. Out: signal-to-noise ratios of held-out data, as JSON, and as a
table in a page. An autoencoder around each quantizer is trained with the original's class, and with
certvq's under each of the settings: the same networks, initialised alike, and the same batches in
the same order; only the quantizer differs. One run is measured at each of the lengths on its way.

    python bench/defaults.py --settings all --seeds 2 --out scan.json
    python bench/defaults.py --update docs/quality.md    # write the table

Cells that the JSON already holds are not trained again.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import vector_quantize_pytorch as original
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "examples")]

import train_a_quantizer as example

import certvq.nn as vq
from certvq._files.atomic import atomic_path
from quality import spread, worse

LENGTHS: Final = (50, 200, 1000)
"""Optimiser steps: the first is an epoch or two of a small set."""

CODES, DIM, BATCH = 256, 32, 1024
"""K and D; tokens in a batch."""

ORIGINAL = "original"
BEGIN, END = "<!-- defaults:begin -->", "<!-- defaults:end -->"

ESTIMATORS = {"straight": vq.StraightThrough(), "rotation": vq.RotationTrick()}


@dataclass(frozen=True)
class Kind:
    """One kind of data with its autoencoder.

    Attributes:
        networks: makes encoder and decoder, from data to features (b, D, ...) and back.
        batches: endless training batches of a seed.
        heldout: what is measured.
    """

    networks: Callable[[], tuple[nn.Module, nn.Module]]
    batches: Callable[[int], Iterator[torch.Tensor]]
    heldout: torch.Tensor


def photographs() -> Kind:
    """Crops of the bundled photographs, 8 x 8 tokens each."""
    train, heldout = example.photographs()

    def networks() -> tuple[nn.Module, nn.Module]:
        model = example.Autoencoder(nn.Identity(), DIM, DIM)
        return model.encoder, model.decoder

    cut = [torch.from_numpy(np.array(one.pixels[:192, :192])) for one in heldout]
    images = torch.stack(cut).permute(0, 3, 1, 2).float() / 255 - 0.5

    def batches(seed: int) -> Iterator[torch.Tensor]:
        return (images - 0.5 for images in example.batches(train, seed))

    return Kind(networks, batches, images)


def sounds() -> Kind:
    """Decaying harmonics with noise, 64 tokens of 16 samples each."""

    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        unit = torch.rand(count, 4, generator=generator)
        time = torch.arange(1024) / 16000
        pitch = 80.0 * 2.0 ** (3.0 * unit[:, :1])
        onset, decay = 0.03 * unit[:, 1:2], 10.0 + 50.0 * unit[:, 2:3]
        since = (time - onset).clamp(min=0.0)
        tones = [
            torch.sin(2.0 * math.pi * order * pitch * since) * (0.2 + 0.8 * unit[:, 3:]) ** order
            for order in range(1, 9)
        ]
        noise = 0.02 * torch.randn(count, 1024, generator=generator)
        return (sum(tones) * torch.exp(-decay * since) + noise)[:, None]

    def networks() -> tuple[nn.Module, nn.Module]:
        encoder = nn.Sequential(
            nn.Conv1d(1, 32, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv1d(32, 64, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv1d(64, DIM, 3, padding=1),
        )
        decoder = nn.Sequential(
            nn.Conv1d(DIM, 64, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(64, 32, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.ConvTranspose1d(32, 1, 8, stride=4, padding=2),
        )
        return encoder, decoder

    def batches(seed: int) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return (draw(BATCH // 64, generator) for _ in itertools.count())

    return Kind(networks, batches, draw(64, torch.Generator().manual_seed(99)))


def _dense(width: int, tokens: int) -> tuple[nn.Module, nn.Module]:
    encoder = nn.Sequential(
        nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, tokens * DIM), nn.Unflatten(1, (DIM, -1))
    )
    decoder = nn.Sequential(
        nn.Flatten(), nn.Linear(tokens * DIM, 128), nn.ReLU(), nn.Linear(128, width)
    )
    return encoder, decoder


def digits() -> Kind:
    """The 1,797 digits of scikit-learn, four tokens each: a small set, seen many times."""
    pixels = torch.from_numpy(load_digits().data).float() / 16
    train, heldout = pixels[:1500], pixels[1500:]

    def batches(seed: int) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        for _ in itertools.count():
            yield from train[torch.randperm(len(train), generator=generator)].split(BATCH // 4)

    return Kind(lambda: _dense(64, 4), batches, heldout)


def mixture() -> Kind:
    """A mixture of 400 normal clusters in 16 dimensions, a token each."""
    fixed = torch.Generator().manual_seed(7)
    centres = 3.0 * torch.randn(400, 16, generator=fixed)

    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        which = torch.randint(len(centres), (count,), generator=generator)
        return centres[which] + torch.randn(count, 16, generator=generator)

    def batches(seed: int) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return (draw(BATCH, generator) for _ in itertools.count())

    return Kind(lambda: _dense(16, 1), batches, draw(4096, torch.Generator().manual_seed(99)))


KINDS: Final[dict[str, Callable[[], Kind]]] = {
    "photographs": photographs,
    "sounds": sounds,
    "digits": digits,
    "mixture": mixture,
}


class Theirs(nn.Module):
    """The original's quantizer for features (b, D, ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.quantizer = original.VectorQuantize(
            dim=DIM, codebook_size=CODES, kmeans_init=True, threshold_ema_dead_code=2
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors, codes and the loss."""
        vectors, codes, loss = self.quantizer(x.mT)
        return vectors.mT, codes, loss.sum()


def quantizer(setting: str, seed: int) -> nn.Module:
    """Make the original's quantizer, or certvq's of ``decay/weight/estimator`` or ``default``."""
    if setting == ORIGINAL:
        return Theirs()
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {}
    if setting != "default":
        decay, weight, estimator = setting.split("/")
        options = {
            "update": vq.EMA(decay=float(decay)),
            "commitment_weight": float(weight),
            "estimator": ESTIMATORS[estimator],
        }
    return vq.VectorQuantize(DIM, CODES, layout="b d n", generator=generator, **options)


def run(kind: Kind, setting: str, seed: int) -> Iterator[tuple[int, float]]:
    """Train, and give (steps, signal-to-noise ratio in dB of the held-out data) at each length."""
    torch.manual_seed(seed)
    layer = quantizer(setting, seed)
    torch.manual_seed(seed)
    encoder, decoder = kind.networks()
    model = nn.ModuleList([encoder, layer, decoder])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def rebuild(data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = encoder(data)
        vectors, _, penalty = layer(features.flatten(2))
        return decoder(vectors.reshape(features.shape)), penalty

    for step, data in enumerate(itertools.islice(kind.batches(seed), max(LENGTHS)), 1):
        rebuilt, penalty = rebuild(data)
        loss = functional.mse_loss(rebuilt, data) + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in LENGTHS:
            model.eval()
            with torch.no_grad():
                error = functional.mse_loss(rebuild(kind.heldout)[0], kind.heldout)
            yield step, float(10.0 * torch.log10(kind.heldout.var() / error))
            model.train()


def table(cells: list[dict[str, Any]]) -> str:
    """Write cells as Markdown: a row for each kind and length, a column for each setting."""
    settings = list(dict.fromkeys(one["setting"] for one in cells))
    settings.sort(key=lambda name: (name != ORIGINAL, name != "default"))
    heads = ["data", "steps", *(f"`{name}`" for name in settings), "default worse"]
    lines = [heads, ["---"] * len(heads)]
    for kind, steps in itertools.product(KINDS, LENGTHS):
        columns = {
            name: [
                one["snr"]
                for one in sorted(cells, key=lambda one: one["seed"])
                if (one["kind"], one["steps"], one["setting"]) == (kind, steps, name)
            ]
            for name in settings
        }
        if not all(columns.values()):
            continue
        verdict = ""
        if {"default", ORIGINAL} <= columns.keys():
            verdict = "yes" if worse(columns["default"], columns[ORIGINAL]) else "no"
        lines.append([kind, str(steps), *map(spread, columns.values()), verdict])
    seeds = len({one["seed"] for one in cells})
    text = f"Signal-to-noise ratio in dB of held-out data, mean and deviation over {seeds} seeds."
    return text + "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def update(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    with atomic_path(page) as partial:
        partial.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


ALL = [
    "/".join(each)
    for each in itertools.product(("0.8", "0.9", "0.95", "0.99"), ("0.25", "1"), ESTIMATORS)
]


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, then write the table; exit status 1 if the defaults are worse."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--settings", nargs="+", default=[ORIGINAL, "default"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench/results/defaults.json"))
    parser.add_argument("--update", type=Path, help="page to write the table into")
    options = parser.parse_args(arguments)
    settings = [ORIGINAL, *ALL] if options.settings == ["all"] else options.settings
    cells = json.loads(options.out.read_text()) if options.out.exists() else []
    have = {(one["kind"], one["setting"], one["seed"]) for one in cells}
    kinds = {name: KINDS[name]() for name in options.kinds}
    for seed, name, setting in itertools.product(range(options.seeds), kinds, settings):
        if (name, setting, seed) in have:
            continue
        for steps, snr in run(kinds[name], setting, seed):
            one = {"kind": name, "setting": setting, "seed": seed, "steps": steps, "snr": snr}
            cells.append(one)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(options.out) as partial:
            partial.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
        print(f"{name}, {setting}, seed {seed}: {cells[-1]['snr']:.2f} dB", file=sys.stderr)
    chosen = [one for one in cells if one["setting"] in settings and one["seed"] < options.seeds]
    text = table(chosen)
    print(text)
    if options.update:
        update(options.update, text)
    return int(any(line.endswith("| yes |") for line in text.splitlines()))


if __name__ == "__main__":
    sys.exit(main())
