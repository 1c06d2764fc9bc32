"""`examples/tokenize_with_torchrun.py`: the bytes of `certvq tokenize`, by two processes."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import certvq
from certvq.models import VQVAE, VQVAEConfig

PATH = Path(__file__).parents[2] / "examples" / "tokenize_with_torchrun.py"


@pytest.mark.slow
def test_two_processes_make_the_bytes_of_one(tmp_path, rng):
    config = VQVAEConfig(hidden=8, residual_hidden=4, dim=4, codebook_size=16)
    VQVAE(config, generator=torch.Generator().manual_seed(2)).save_pretrained(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        with tarfile.open(tmp_path / f"in/{name}.tar", "w") as archive:
            for number in range(2):
                stream = io.BytesIO()
                pixels = rng.integers(0, 256, (12, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(stream, format="PNG")
                info = tarfile.TarInfo(f"{number}.png")
                info.size = stream.tell()
                archive.addfile(info, io.BytesIO(stream.getvalue()))
    certvq.tokenize(tmp_path / "model", tmp_path / "in", tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", PATH, tmp_path / "model", tmp_path / "in"]
    done = subprocess.run([*command, tmp_path / "two"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.parquet"))
    assert len(names) == 3
    for name in [*names, Path("manifest.json")]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(json.loads((tmp_path / "two/manifest.json").read_text())["parts"]) == len(names)
