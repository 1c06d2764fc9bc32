"""Damage files of every kind, and see that certvq reads them as they were or names what is wrong.

In: command-line options. Out: how many mutations were refused and read, and each that ended in
anything but a one-line error of certvq, took more than 512 MiB, hung, ended the process, or gave
other content than was written; exit status 1 where there is one. The work is done in a process of
its own, which is started anew behind a mutation that ended it.

    python bench/soak_files.py --mutations 3000                 # of each kind
    python bench/soak_files.py --kind tokens --seed 2 --case 17 # one mutation again
"""

import argparse
import collections
import hashlib
import io
import json
import selectors
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from certvq.errors import CertVQError

MOST_MIB = 512
MOST_SECONDS = 60
LONGEST = 1100


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        make: writes them into a folder, and returns their paths.
        read: gives a digest of what a file holds, by certvq.
        oracle: gives the same by other means, for files that carry no checksum of their own: what
            a damaged one holds is then not what was written; None where it must be.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], str]
    oracle: Callable[[Path], str] | None = None


def tiny_model() -> Any:
    """Make a model of a few thousand weights."""
    import torch

    from certvq.models import VQVAE, VQVAEConfig

    config = VQVAEConfig(hidden=4, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=8)
    return VQVAE(config, generator=torch.Generator().manual_seed(1)).eval()


def make_tokens(folder: Path) -> list[Path]:
    from certvq.tokens import TokenHeader, TokenRecord
    from certvq.tokens._write import write_records

    rng = np.random.default_rng(1)
    records = [
        TokenRecord(f"a/{i}", (3, i), (12, 4 * i), rng.integers(0, 300, 3 * i)) for i in (2, 9)
    ]
    header = TokenHeader(
        codebook_size=300,
        codebook_sha256="0" * 64,
        model_sha256="1" * 64,
        decided_by={"filter": 33, "refined": 0, "exact": 0},
        certvq_version="0.1.0",
        channels=3,
    )
    write_records(folder / "tokens.parquet", records, header)
    return [folder / "tokens.parquet"]


def read_tokens(path: Path) -> str:
    from certvq.tokens import read_tokens as read

    found = read(path)
    records = [(r.key, r.shape, r.size, r.codes.tolist()) for r in found.records]
    return repr((asdict(found.header), records))


def make_model(folder: Path) -> list[Path]:
    tiny_model().save_pretrained(folder / "model")
    return [folder / "model" / "model.safetensors"]


def make_config(folder: Path) -> list[Path]:
    from certvq.train import TrainConfig
    from certvq.train._config_file import write_config

    write_config(folder / "train.json", TrainConfig())
    return [make_model(folder)[0].with_name("config.json"), folder / "train.json"]


def read_model(path: Path) -> str:
    from certvq.models import VQVAE, model_digest
    from certvq.train._config_file import read_config

    if path.name == "train.json":
        return repr(read_config(path))
    model = VQVAE.from_pretrained(path.parent)
    return repr((model.config, model_digest(model)))


def state(*, steps: int) -> Any:
    """Make a model, an optimiser and a generator."""
    import torch

    from certvq.train._checkpoint import TrainState

    model, generator = tiny_model().train(), torch.Generator().manual_seed(steps)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(2, 3, 16, 16, generator=generator)).loss.backward()
        optimizer.step()
    return TrainState(model, optimizer, generator)


def make_checkpoint(folder: Path) -> list[Path]:
    from certvq.train import CheckpointInfo, TrainConfig
    from certvq.train._checkpoint import write_checkpoint

    moving = state(steps=2)
    config = TrainConfig(model=moving.model.config)
    path = folder / "checkpoint.safetensors"
    write_checkpoint(path, moving, CheckpointInfo(config, step=2, seconds=1.5, photographs="ab"))
    return [path]


def read_checkpoint(path: Path) -> str:
    from certvq.train._checkpoint import _digest, _flatten
    from certvq.train._checkpoint import read_checkpoint as read

    fresh = state(steps=0)
    before = _digest(_flatten(fresh))
    try:
        info = read(path, fresh)
    except CertVQError:
        assert _digest(_flatten(fresh)) == before, "refused, and the state was changed"
        raise
    return repr((info, _digest(_flatten(fresh))))


def make_npy(folder: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    arrays = {"f4": rng.random((5, 3), np.float32), "f8": rng.random(7), "i8": np.arange(4)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return [folder / f"{name}.npy" for name in arrays]


def digest(array: np.ndarray) -> str:
    """Name type, shape and bytes of an array."""
    data = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return f"{array.dtype} {array.shape} {data}"


def read_npy(path: Path) -> str:
    from certvq.jobs._arrays import load_array

    return digest(np.asarray(load_array(path)))


def make_npz(folder: Path) -> list[Path]:
    from certvq.jobs._outputs import write_arrays

    rng = np.random.default_rng(1)
    write_arrays(folder / "a.npz", {"a/b": rng.random((3, 5)), "file": rng.random(4)})
    return [folder / "a.npz"]


def read_npz(path: Path) -> str:
    from certvq.runs._read_file import read_arrays

    return repr({name: digest(array) for name, array in read_arrays(path).items()})


def numpy_npz(path: Path) -> str:
    with np.load(path) as archive:
        return repr({name: digest(archive[name]) for name in archive.files})


def make_images(folder: Path) -> list[Path]:
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (13, 17, 3)).astype(np.uint8)
    colour, grey = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0])
    for suffix in ("png", "jpg", "webp", "tif", "bmp"):
        colour.save(folder / f"colour.{suffix}")
    grey.save(folder / "grey.png")
    colour.save(folder / "lzw.tif", compression="tiff_lzw")
    colour.convert("P").save(folder / "palette.png")
    return sorted(folder.iterdir())


def read_image(path: Path) -> str:
    from certvq.jobs._photographs import load_images

    return digest(load_images([path]).photographs[0].pixels)


def make_sources(folder: Path) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    make_rows(folder)
    (folder / "rows.parquet").unlink()
    stream = io.BytesIO()
    Image.fromarray(np.eye(5, 6, dtype=np.uint8)).save(stream, "PNG")
    picture = stream.getvalue()
    pq.write_table(pa.table({"image": [picture, picture, b"x"]}), folder / "images.parquet")
    for suffix in ("", "gz", "xz", "bz2"):
        with tarfile.open(folder / f"images{suffix}.tar", f"w:{suffix}") as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
            for name in ("a.png", "b.png"):
                member = tarfile.TarInfo(name)
                member.size = len(picture)
                archive.addfile(member, io.BytesIO(picture))
    return sorted(folder.iterdir())


def read_sources(path: Path) -> str:
    from certvq.tokenize._items import items
    from certvq.tokenize._plan import plan

    (part,) = plan([path], "image" if path.stem.startswith("images") else "latent")
    found = ((item.key, item.problem, item.data) for item in items(part))
    return repr([(*about, digest(np.asarray(data))) for *about, data in found])


def make_rows(folder: Path) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.random.default_rng(1).random((9, 3), np.float32)
    np.save(folder / "rows.npy", rows)
    np.savez(folder / "stored.npz", rows=rows)
    np.savez_compressed(folder / "deflated.npz", rows=rows)
    pq.write_table(pa.table({"rows": list(rows)}), folder / "rows.parquet")
    return sorted(folder.iterdir())


def read_rows(path: Path) -> str:
    from certvq.jobs import kmeans_files

    with tempfile.TemporaryDirectory() as folder:
        kmeans_files([path], Path(folder) / "codebook.npy", 2, iterations=2)
        return (Path(folder) / "codebook.npy").read_bytes().hex()


def make_kmeans(folder: Path) -> list[Path]:
    from certvq.cluster._checkpoint import save_state
    from certvq.cluster._loop import State

    state = State(np.ones((2, 3)), (1.0, 0.5), (0,), 12345678901234567890)
    save_state(folder / "checkpoint.npz", state, "ab" * 32)
    return [folder / "checkpoint.npz"]


def read_kmeans(path: Path) -> str:
    from certvq.cluster._checkpoint import load_state

    return repr(load_state(path, "ab" * 32))


KINDS = {
    "tokens": Kind(make_tokens, read_tokens),
    "model": Kind(make_model, read_model),
    "config": Kind(make_config, read_model),
    "checkpoint": Kind(make_checkpoint, read_checkpoint),
    "npy": Kind(make_npy, read_npy, lambda path: digest(np.load(path))),
    "npz": Kind(make_npz, read_npz, numpy_npz),
    "kmeans": Kind(make_kmeans, read_kmeans),
    # none of these formats has a checksum that is always looked at
    "images": Kind(make_images, read_image, read_image),
    "sources": Kind(make_sources, read_sources, read_sources),
    "rows": Kind(make_rows, read_rows, read_rows),
}


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage bytes in one of the ways of disks, networks and hands."""
    changed = bytearray(data)
    start = int(rng.integers(len(data)))
    stop = min(len(data), start + int(2 ** rng.uniform(0, 9)))
    other = int(rng.integers(len(data)))
    way = rng.integers(10)
    if way <= 2:
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[place] ^= 1 << rng.integers(8)
    elif way == 3:
        changed[start:stop] = rng.bytes(stop - start)
    elif way == 4:
        del changed[start:]
    elif way == 5:
        del changed[start:stop]
    elif way == 6:
        changed[other:other] = changed[start:stop]
    elif way == 7:
        changed[start:stop] = bytes(stop - start)
    elif way == 8:
        changed += rng.bytes(stop - start)
    else:
        changed = _odd_number(changed, rng)
    return bytes(changed)


def _odd_number(changed: bytearray, rng: np.random.Generator) -> bytearray:
    """Put an odd number, or a deep nest, in the place of a digit."""
    digits = [place for place, byte in enumerate(changed) if 48 <= byte < 58]
    odd = (b"-1", b"1e400", b"9" * 400, b"9" * 5000, b"[" * 2000, b"null", b"NaN", b'"x"')
    if digits:
        place = int(rng.choice(digits))
        changed[place : place + 1] = odd[rng.integers(len(odd))]
    return changed


def peak_mib(*, reset: bool) -> float:
    """Return the greatest memory since the last reset, or start to look anew."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def judge(kind: Kind, path: Path, wanted: str) -> tuple[str, str]:
    """Read a damaged file; return what came of it, and what is wrong with that."""
    before = peak_mib(reset=True)
    try:
        found = kind.read(path)
        right = found == wanted or (kind.oracle is not None and found == kind.oracle(path))
        outcome, fault = "read", "" if right else "other content was taken for good"
    except CertVQError as error:
        text = str(error)
        outcome = "refused"
        named = path.name in text and "\n" not in text and len(text) <= LONGEST
        fault = "" if named else f"no line that names the file: {text[:200]!r}"
    except BaseException as error:  # noqa: BLE001 (that is what is looked for)
        outcome, fault = "failed", f"{type(error).__name__}: {str(error)[:200]!r}"
    more = peak_mib(reset=False) - before
    return outcome, fault or (f"{more:.0f} MiB more memory" if more > MOST_MIB else "")


def tries(
    kind: Kind, seed: Sequence[int], cases: Iterable[int], begin: Callable[[int], None] = print
) -> Iterator[tuple[int, str, str]]:
    """Yield for each mutation its number, what came of it, and what is wrong with that."""
    with tempfile.TemporaryDirectory(prefix="certvq-soak-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = kind.make(Path(folder))
        whole = {path: (path.read_bytes(), kind.read(path)) for path in paths}
        for case in cases:
            rng = np.random.default_rng([*seed, case])
            path = paths[rng.integers(len(paths))]
            data, wanted = whole[path]
            begin(case)
            path.write_bytes(mutate(data, rng))
            yield case, *judge(kind, path, wanted)
            path.write_bytes(data)


def work(name: str, seed: int, cases: range) -> None:
    """Try mutations; print one line of JSON as each begins and as it ends."""

    def say(case: int, **more: str) -> None:
        print(json.dumps({"case": case, **more}), flush=True)

    place = [seed, list(KINDS).index(name)]
    for case, outcome, fault in tries(KINDS[name], place, cases, say):
        say(case, outcome=outcome, fault=fault)


def soak(name: str, seed: int, cases: range) -> tuple[collections.Counter[str], list[str]]:
    """Let workers try all mutations; return outcomes and faults."""
    counts: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    while len(cases):
        arguments = ["--kind", name, "--seed", str(seed), "--work", f"{cases.start}:{cases.stop}"]
        command = [sys.executable, __file__, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            begun, ended = _follow(worker, name, counts, faults)
        if begun is None and worker.returncode:
            raise RuntimeError(f"the worker of {name} did not start")
        if ended == cases.stop - 1:
            break
        faults.append(f"{name} {begun}: ended the process with status {worker.returncode}")
        cases = range(int(begun or 0) + 1, cases.stop)
    return counts, faults


def _follow(
    worker: "subprocess.Popen[str]",
    name: str,
    counts: "collections.Counter[str]",
    faults: list[str],
) -> tuple[int | None, int | None]:
    begun = ended = None
    assert worker.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(MOST_SECONDS + (MOST_SECONDS if begun is None else 0)):
                worker.kill()
                break
            line = worker.stdout.readline()
            if not line:
                break
            said = json.loads(line)
            begun = said["case"]
            if "outcome" in said:
                ended = begun
                counts[said["outcome"]] += 1
                if said["fault"]:
                    faults.append(f"{name} {begun}: {said['fault']}")
    return begun, ended


def main(arguments: list[str] | None = None) -> int:
    """Soak the kinds; 1 if a mutation was not borne."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--mutations", type=int, default=3000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this mutation only")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = list(KINDS) if options.kind == "all" else [options.kind]
    if options.work:
        for name in names:
            work(name, options.seed, range(*map(int, options.work.split(":"))))
        return 0
    wrong = 0
    cases = range(options.mutations)
    if options.case is not None:
        cases = range(options.case, options.case + 1)
    for name in names:
        start = time.perf_counter()
        counts, faults = soak(name, options.seed, cases)
        for fault in faults:
            print(f"WRONG: seed {options.seed}, {fault}")
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        print(f"{name}: {outcomes}; {len(faults)} wrong; {time.perf_counter() - start:.0f} s")
        wrong += len(faults)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
