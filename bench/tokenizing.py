"""`certvq tokenize` beside the bare encoder, `certvq encode` and itself on Ray; memory and rates.

Each pair is measured in one run, turn by turn. Rates leave out imports and, on Ray, the start of
the cluster: they count from the first part that is finished. Peaks are those of processes of their
own. Both the job and the bare encoder read the files, and each has all cores: the bare encoder is
measured in one thread for each core and image by image, as the job runs it, and in batches of 16
with all threads in each operation; the faster one counts.

    python bench/tokenizing.py --images 200 --many 20000
    git worktree add ../before 4ed3823     # and build its kernels into ../before/src
    python bench/tokenizing.py --parts rates --before ../before/src
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import certvq
from certvq.data import read_image
from certvq.models import VQVAE, VQVAEConfig
from certvq.tokenize import LocalEngine, RayEngine

LEAST = VQVAEConfig(hidden=16, residual_hidden=8, dim=8, codebook_size=512, downsampling=8)
"""For peaks, which hardly depend on the network, but on the number of images."""

PEAK = """
import resource, sys
from pathlib import Path
job, model, source, out = sys.argv[1:]
if job == "encode":
    from certvq.jobs import encode_images
    encode_images(Path(model), [Path(source)], Path(out))
else:
    import certvq
    certvq.tokenize(model, source, out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

BEFORE = """
import sys, time
from pathlib import Path
from certvq.pipeline import encode_images
model, source, out = map(Path, sys.argv[1:])
begin = time.perf_counter()
encode_images(model, [source], out)
print(time.perf_counter() - begin)
"""
"""`certvq encode` of another version of certvq, in seconds without imports."""

BEFORE_MODEL = """
import sys, torch
from certvq.models import VQVAE, VQVAEConfig
VQVAE(VQVAEConfig.small(), generator=torch.Generator().manual_seed(0)).save_pretrained(sys.argv[1])
"""


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200, help="in each measurement of rates")
    parser.add_argument("--many", type=int, default=2000, help="in the larger one of memory")
    parser.add_argument("--side", type=int, default=256, help="of the images, px")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--parts", choices=["memory", "rates", "ray"], nargs="*", default=None)
    parser.add_argument("--before", type=Path, help="src of an older certvq, to measure its encode")
    options = parser.parse_args()
    wanted = options.parts or ["memory", "rates", "ray"]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if options.before:
            elsewhere(options.before, BEFORE_MODEL, work / "small")
        else:
            save(work / "small", VQVAEConfig.small())
        save(work / "least", LEAST)
        fill(work / "images", options.images, options.side)
        found = {"cores": len(os.sched_getaffinity(0)), "images": options.images}
        if "rates" in wanted:
            found["rates"] = rates(work, options.turns, options.before)
        if "ray" in wanted:
            found["ray"] = ray_rates(work)
        if "memory" in wanted:
            fill(work / "many", options.many, options.side)
            found["many"] = options.many
            found["peak_mib"] = peaks(work)
    print(json.dumps(found, indent=2))


def save(folder: Path, config: VQVAEConfig) -> None:
    """Write a model with random weights."""
    VQVAE(config, generator=torch.Generator().manual_seed(0)).save_pretrained(folder)


def fill(folder: Path, count: int, side: int) -> None:
    """Fill a folder with JPEG files; there are a hundred pictures, the others are links to them."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number >= 100:
            os.link(folder / f"{number % 100:06d}.jpg", path)
            continue
        coarse = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)


def peaks(work: Path) -> dict[str, float]:
    """Return peak memory in MiB."""

    def peak(job: str, source: str) -> float:
        out = work / "peak"
        command = [sys.executable, "-c", PEAK, job, work / "least", work / source, out]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        shutil.rmtree(out) if out.is_dir() else out.unlink()
        return float(done.stdout.split()[-1])

    few, many, encode = peak("job", "images"), peak("job", "many"), peak("encode", "images")
    return {
        "few": few,
        "many": many,
        "encode_few": encode,
        "many_over_few": many / few,
        "few_over_encode": few / encode,
        "many_over_encode": many / encode,
    }


def elsewhere(source: Path, program: str, *arguments: Path) -> str:
    """Run a program with another version of certvq, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout


def rates(work: Path, turns: int, before: Path | None) -> dict[str, float]:
    """Return images a second: the bare encoder, the job, and `certvq encode`."""
    from certvq.jobs import encode_images

    model = VQVAE.from_pretrained(work / "small").eval()
    paths = sorted((work / "images").iterdir())
    codebook = model.quantizer.codebook.detach()
    norms = codebook.square().sum(1)

    def encoded(some: list[Path]) -> torch.Tensor:
        """Read images, encode them, and take the argmin of ``|c|^2 - 2 z c``."""
        with torch.inference_mode():
            pixels = np.stack([read_image(path) for path in some])
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
            latents = model.latents(images).flatten(0, 2)
            return torch.addmm(norms, latents, codebook.T, alpha=-2).argmin(-1)

    def bare_each() -> None:
        threads = torch.get_num_threads()
        one = {"initializer": torch.set_num_threads, "initargs": (1,)}  # in each thread anew
        with ThreadPoolExecutor(threads, **one) as executor:
            list(executor.map(encoded, ([path] for path in paths)))
        torch.set_num_threads(threads)

    def bare_batches() -> None:
        for first in range(0, len(paths), 16):
            encoded(paths[first : first + 16])

    def job() -> None:
        shutil.rmtree(work / "out", ignore_errors=True)
        certvq.tokenize(work / "small", work / "images", work / "out")

    def encode() -> None:
        encode_images(work / "small", [work / "images"], work / "tokens.parquet")

    def encode_before() -> float:
        places = (work / "small", work / "images", work / "before.parquet")
        return float(elsewhere(before, BEFORE, *places)) if before else 0.0

    sides = [bare_each, bare_batches, job, encode, *([encode_before] if before else [])]
    took: dict[str, list[float]] = {side.__name__: [] for side in sides}
    for _ in range(turns):
        for side in sides:
            took[side.__name__].append(seconds(side))
    found = {name: len(paths) / statistics.median(times) for name, times in took.items()}
    found["job_over_bare"] = found["job"] / max(found["bare_each"], found["bare_batches"])
    for name in found.keys() & {"encode", "encode_before"}:
        found[f"job_over_{name}"] = found["job"] / found[name]
    return found


def seconds(side: Callable[[], float | None]) -> float:
    """Run one side; of one that runs elsewhere take the time that it tells."""
    begin = time.perf_counter()
    told = side()
    return told or time.perf_counter() - begin


def ray_rates(work: Path) -> dict[str, float]:
    """Return images a second from the first part that is finished to the last."""
    found: dict[str, float] = {}
    for name, engine in (("local", LocalEngine(2)), ("ray", RayEngine(concurrency=2))):
        ends: list[tuple[float, int]] = []

        def watch(state: certvq.tokenize.State, ends: list = ends) -> None:
            if state.part is not None:
                ends.append((time.perf_counter(), state.part.rows))

        shutil.rmtree(work / name, ignore_errors=True)
        certvq.tokenize(
            work / "small",
            work / "images",
            work / name,
            files_per_part=10,
            engine=engine,
            watch=watch,
        )
        rows = sum(count for _, count in ends[2:])
        found[name] = rows / (ends[-1][0] - ends[1][0])
    return found | {"ray_over_local": found["ray"] / found["local"]}


if __name__ == "__main__":
    main()
