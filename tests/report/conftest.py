"""A run directory, small and complete, as `certvq demo` writes it, and ways to look at a page."""

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import certvq
from certvq.models import VQVAE, VQVAEConfig, codebook_digest, model_digest
from certvq.tokens import TokenHeader, TokenRecord
from certvq.tokens._write import write_records

_CONFIG = VQVAEConfig(hidden=4, residual_blocks=0, residual_hidden=1, dim=3, codebook_size=16)
_SIZES = ((40, 64), (33, 50), (64, 48))


def _gradient(height, width, shift):
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [255 * rows / height, 255 * columns / width, np.full((height, width), 40 * shift)]
    return np.stack(channels, axis=2).astype(np.uint8)


def _fabricate(folder: Path, keys: list[str], *, sizes=_SIZES, seed=7) -> Path:
    """Write a run with one photograph for each key; its codes are the nearest ones."""
    rng = np.random.default_rng(seed)
    model = VQVAE(_CONFIG, generator=torch.Generator().manual_seed(seed)).eval()
    model.save_pretrained(folder / "model")
    codebook = model.quantizer.codebook.detach()
    records, images, radii, latents = [], [], {}, {}
    decided: dict[str, int] = {"filter": 0, "refined": 0, "exact": 0}
    for place, key in enumerate(keys):
        height, width = sizes[place % len(sizes)]
        grid = model.token_grid(height, width)
        # nothing lies near the last two code vectors: they are dead
        chosen = rng.integers(0, 14, size=grid[0] * grid[1])
        noise = rng.normal(scale=0.01, size=(len(chosen), 3))
        rows = (codebook.numpy()[chosen] + noise).astype(np.float32)
        assignment = certvq.assign(rows, codebook.numpy())
        decided = {way: decided[way] + count for way, count in assignment.counts().items()}
        radius = certvq.stability_radius(rows, codebook.numpy(), assignment.codes)
        radii[key], latents[key] = radius.reshape(grid), rows
        records.append(TokenRecord(key, grid, (height, width), assignment.codes))
        images.append(
            {"key": key, "height": height, "width": width, "tokens": len(rows)}
            | {"psnr": 25.0 + place, "psnr_kmeans": 23.5 + place}
        )
        original = _gradient(height, width, place)
        for kind, offset in (("original", 0), ("reconstruction", 3), ("kmeans", 9)):
            path = folder / "heldout" / f"{key}.{kind}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.minimum(original, 255 - offset) + np.uint8(offset)).save(path)
    np.savez(folder / "heldout/stability.npz", **radii)
    np.savez(folder / "heldout/latents.npz", **latents)
    np.savez(folder / "heldout/canonical.npz", **{key: each / 2 for key, each in radii.items()})
    header = TokenHeader(
        codebook_size=16,
        codebook_sha256=codebook_digest(codebook),
        model_sha256=model_digest(model),
        decided_by=decided,
        certvq_version="0.1.0",
        channels=3,
    )
    write_records(folder / "tokens.parquet", records, header)
    total = sum(record.codes.size for record in records)
    counts = np.bincount(np.concatenate([record.codes for record in records]), minlength=16)
    summary = {
        "psnr_heldout": float(np.mean([image["psnr"] for image in images])),
        "psnr_kmeans": float(np.mean([image["psnr_kmeans"] for image in images])),
        "bits_per_pixel": 0.25,
        "perplexity": 13.4,
        "usage": float((counts > 0).mean()),
        "codes_total": total,
        "decided_by": decided,
        "audit_violations": 0,
        "roundtrip_bit_exact": True,
        "train_seconds": 151.2,
        "total_seconds": 204.9,
        "codebook_size": 16,
        "codebook_sha256": header.codebook_sha256,
        "certvq_version": "0.1.0",
        "seed": 0,
        "images": images,
        "canonical": {
            "decided_by": {"float64": total - 3, "wider": 0, "exact": 2, "open": 1},
            "least_margin": 0.0,
            "runs": {
                "float32": {"other_codes": 1, "moved": 1e-7},
                "float64": {"other_codes": 0, "moved": 0.0},
                "bfloat16": {"other_codes": 40, "moved": 0.002},
            },
        },
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    train = {"model": {"dim": 3, "hidden": 4}, "steps": 40, "seconds": None, "seed": 0}
    (folder / "train.json").write_text(json.dumps(train))
    (folder / "metrics.jsonl").write_text("".join(_metrics_lines(40)))
    return folder


def _metrics_lines(steps):
    for step in range(1, steps + 1):
        figures = {
            "step": step,
            "seconds": 0.1 * step,
            "reconstruction_mse": 0.03 / step,
            "mse_over_variance": 0.5 / step,
            "codebook_loss": 0.002 + 0.01 / step,
            "commitment_loss": 0.002 + 0.01 / step,
            "loss": 0.04 / step,
            "perplexity": 14 * step / steps,
            "usage": step / steps,
            "filter_share": 1.0,
            "refined_share": 0.0,
            "exact_share": 0.0,
        }
        yield json.dumps({"split": "train"} | figures) + "\n"
        if step % 10 == 0:
            yield json.dumps({"split": "validation", "psnr": 25.0} | figures) + "\n"


class Outline(HTMLParser):
    """The elements of a page, in order, and its text without scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self._words, self._inside = [], [], []
        self.feed(page)
        self.text = " ".join(" ".join(self._words).split()).replace("\u202f", " ")

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._inside):
            self._words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def fabricate() -> Callable[..., Path]:
    return _fabricate


@pytest.fixture(scope="session")
def _complete_run(tmp_path_factory):
    return _fabricate(tmp_path_factory.mktemp("runs") / "run", ["harbour", "hills", "portrait"])


@pytest.fixture
def run_dir(_complete_run, tmp_path):
    """A complete run of three photographs; a test may damage it."""
    return Path(shutil.copytree(_complete_run, tmp_path / "run"))


@pytest.fixture
def change_summary(run_dir):
    """Overwrite fields of the summary of `run_dir`."""

    def change(**fields):
        path = run_dir / "summary.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


@pytest.fixture(scope="session")
def outline():
    """Parse the file of a page."""
    return lambda path: Outline(path.read_text(encoding="utf-8"))
