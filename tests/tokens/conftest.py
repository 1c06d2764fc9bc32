"""A small model, small photographs and a small token file."""

import numpy as np
import pytest
import torch

from certvq.data import from_arrays
from certvq.models import VQVAE, VQVAEConfig
from certvq.tokens import DatasetWriter, Job, TokenHeader, TokenRecord


@pytest.fixture
def make_model():
    """Build a small model whose codebook lies among the latents of noise."""

    def make(seed=0, **options):
        config = {
            "hidden": 8,
            "residual_hidden": 4,
            "residual_blocks": 1,
            "dim": 4,
            "codebook_size": 16,
            "downsampling": 4,
            **options,
        }
        generator = torch.Generator().manual_seed(seed)
        model = VQVAE(VQVAEConfig(**config), generator=generator)
        channels = model.config.channels
        model(torch.rand(2, channels, 32, 32, generator=generator))
        return model.eval()

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def photographs(rng):
    shapes = {"a": (16, 20, 3), "sub/b": (17, 23, 3), "c": (4, 4, 3)}
    return from_arrays({k: rng.integers(0, 256, s, dtype=np.uint8) for k, s in shapes.items()})


@pytest.fixture
def header():
    """Build a header for records of 16 + 4 codes."""

    def make(**options):
        fields = {
            "codebook_size": 300,
            "codebook_sha256": "c0" * 32,
            "model_sha256": "0d" * 32,
            "decided_by": {"filter": 17, "refined": 2, "exact": 1},
            "certvq_version": "0.1.0",
            "channels": 3,
            **options,
        }
        return TokenHeader(**fields)

    return make


@pytest.fixture
def records():
    codes = np.arange(20) * 15
    return [
        TokenRecord("cats/tom", (2, 8), (8, 31), codes[:16]),
        TokenRecord("Küche", (4, 1), (14, 2), codes[16:]),
    ]


@pytest.fixture
def make_job():
    """Build a job of small codebooks and three parts."""

    def make(sizes=(300, 7), *, seed=0, **options):
        generator = torch.Generator().manual_seed(seed)
        model = torch.nn.Linear(2, 3)
        torch.nn.init.uniform_(model.weight, generator=generator)
        torch.nn.init.uniform_(model.bias, generator=generator)
        codebooks = [
            torch.arange(size).float().reshape(-1, 1) if size < 1 << 20 else np.array([size])
            for size in sizes
        ]
        fields = {
            "modality": "audio",
            "inputs": ("a", "b", "c"),
            "preprocessing": {"rate": 24000},
            "arguments": {"sources": ["x.tar", "y.tar"]},
            **options,
        }
        return Job.of(model, codebooks, **fields)

    return make


def audio_columns(part, sizes=(300, 7), rows=20, batch=6):
    """Give batches of audio rows that depend on the number of the part alone."""
    rng = np.random.default_rng(part)
    lengths = rng.integers(1, 9, rows)
    codes = [rng.integers(0, sizes, (length, len(sizes))) for length in lengths]
    several = len(sizes) > 1
    for begin in range(0, rows, batch):
        some = range(begin, min(begin + batch, rows))
        yield {
            "key": [f"{part}/{row}" for row in some],
            "shape": [codes[row].shape if several else codes[row].shape[:1] for row in some],
            "size": [(int(lengths[row]) * 320, 24000) for row in some],
            "codes": [codes[row] for row in some],
            "decided_by": [(codes[row].size - 1, 1, 0) for row in some],
            "reason": ["no sound" if row == 3 else "" for row in some],
        }


@pytest.fixture
def columns_of():
    return audio_columns


@pytest.fixture
def make_set(tmp_path, make_job):
    """Write a data set of three parts."""

    def make(name="tokens", sizes=(300, 7), rows=20, batch=6, **options):
        job = make_job(sizes, **options)
        with DatasetWriter(tmp_path / name, job) as writer:
            for number in writer.missing:
                writer.write(number, audio_columns(number, sizes, rows, batch))
        return tmp_path / name

    return make


@pytest.fixture
def tokens_dir(make_set):
    return make_set()


@pytest.fixture
def expected():
    """What `audio_columns` gave: key, shape, size and codes of each row that did not fail."""

    def rows(sizes=(300, 7), parts=3, count=20):
        return [
            (batch["key"][i], tuple(batch["shape"][i]), batch["size"][i], batch["codes"][i])
            for part in range(parts)
            for batch in audio_columns(part, sizes, count)
            for i in range(len(batch["key"]))
            if not batch["reason"][i]
        ]

    return rows


@pytest.fixture
def listing():
    """Read every file below a folder."""

    def read(folder):
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
