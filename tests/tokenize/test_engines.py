"""Engines: threads here, and a real cluster of Ray; `certvq.tokenize._engines`."""

import contextlib
import os
import pickle
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import certvq
from certvq.errors import DataError, DigestMismatchError, OptionError
from certvq.tokenize import Codec, LocalEngine, Making, RayEngine, TokenEncoder, plan
from certvq.tokenize._engines import PartMaker, Work
from certvq.tokenize._job import job_of
from certvq.tokens import open_tokens


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LocalEngine(0), "concurrency must be at least 1, got 0"),
        (lambda: RayEngine(concurrency=0), "concurrency must be at least 1, got 0"),
        (lambda: RayEngine(gpus=-1), "gpus and retries must be at least 0, got -1 and 3"),
        (lambda: RayEngine(retries=-1), "got 0.0 and -1"),
    ],
)
def test_options_are_checked(make, text):
    with pytest.raises(OptionError, match=text):
        make()


def _another():
    codebook = torch.zeros(1, 1)
    return Codec(
        module=torch.nn.Linear(1, 1), modality="image", codebooks=[codebook], encode=lambda x: x
    )


def test_an_error_of_an_actor_is_its_result(model_dir, pictures, tmp_path):
    (part,) = plan([pictures(1, broken=[0])], "image")
    encoder = TokenEncoder(str(model_dir))
    making = Making(encoder, strict=True)
    job = job_of(making, [part], 1000)
    batch = {"number": np.array([0]), "part": np.array([pickle.dumps(part)], dtype=object)}
    found = PartMaker(Work(tmp_path / "out", job, making, {}))(batch)
    error = pickle.loads(found["part"][0])  # noqa: S301 (made above)
    assert isinstance(error, DataError)
    assert "0000.png: " in str(error)
    other = replace(making, encoder=TokenEncoder(_another))
    found = PartMaker(Work(tmp_path / "out", job, other, {}))(batch)
    assert isinstance(pickle.loads(found["part"][0]), DigestMismatchError)  # noqa: S301


@pytest.fixture(scope="module")
def cluster():
    """Start a local cluster with two workers."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_parts_of_ray_are_those_of_the_local_engine(
    cluster, model_dir, pictures, tmp_path, content
):
    source = pictures(24, broken=[5])
    certvq.tokenize(model_dir, source, tmp_path / "local", files_per_part=3)
    engine = RayEngine(concurrency=2)
    found = certvq.tokenize(
        model_dir, source, tmp_path / "ray", files_per_part=3, batch_size=2, engine=engine
    )
    assert (found.parts, found.rows, found.failed) == (8, 23, 1)
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    broken = tmp_path / "strict"
    with pytest.raises(DataError, match=r"0005.png"):
        certvq.tokenize(model_dir, source, broken, files_per_part=3, strict=True, engine=engine)


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_side_numbers_of_ray_are_those_of_the_local_engine(
    cluster, hf_models, rng, tmp_path, content
):
    model, source = tmp_path / "encodec", tmp_path / "in"
    hf_models.encodec(normalize=True, chunk_length_s=0.02, overlap=0.1).save_pretrained(model)
    source.mkdir()
    for number in range(5):
        soundfile.write(source / f"{number}.wav", rng.uniform(-0.5, 0.5, 400 + 99 * number), 24000)
    for name, engine in (("local", LocalEngine(2)), ("ray", RayEngine(concurrency=1))):
        certvq.tokenize(model, source, tmp_path / name, files_per_part=2, engine=engine)
    assert open_tokens(tmp_path / "local").side
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def _workers():
    """Find the processes of actors that make parts, of this cluster, by their titles."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if b"MapWorker(MapBatches(PartMaker))" in (entry / "cmdline").read_bytes():
                yield int(entry.name)


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_is_killed_loses_nothing(cluster, model_dir, pictures, tmp_path, content):
    source = pictures(120)
    certvq.tokenize(model_dir, source, tmp_path / "local", files_per_part=3)
    before, killed = set(_workers()), []

    def kill_one():
        until = time.monotonic() + 90
        while time.monotonic() < until and not killed:
            done = tmp_path / "ray/parts"
            begun = done.exists() and any(done.glob("part-*.parquet"))
            fresh = sorted(set(_workers()) - before)
            if begun and fresh:
                os.kill(fresh[0], signal.SIGKILL)
                killed.append(fresh[0])
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = certvq.tokenize(
        model_dir, source, tmp_path / "ray", files_per_part=3, engine=RayEngine(concurrency=2)
    )
    killer.join()
    assert killed
    assert (found.parts, found.rows, found.failed) == (40, 120, 0)
    assert content(tmp_path / "ray") == content(tmp_path / "local")
