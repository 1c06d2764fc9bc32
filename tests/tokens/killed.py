"""Write data sets in child processes that are killed at random moments; run by test_writer.py.

Prints how often a child was killed, how many data sets were made, how many kills fell between the
first part and the last, and what was broken after one.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from certvq.tokens import DatasetWriter, Job, verify_tokens

PARTS = 12


def columns(part):
    rng = np.random.default_rng(part)
    for row in range(40):
        yield {
            "key": [f"{part}/{row}"],
            "shape": [(32, 32)],
            "size": [(256, 256)],
            "codes": [rng.integers(0, 1000, (32, 32))],
            "decided_by": [(1024, 0, 0)],
        }


def write(folder):
    job = Job.of(
        torch.nn.Identity(),
        [torch.zeros(1000, 2)],
        modality="image",
        inputs=[str(number) for number in range(PARTS)],
    )
    with DatasetWriter(folder, job) as writer:
        for number in writer.missing:
            writer.write(number, columns(number))


def child(folder):
    process = os.fork()
    if process == 0:
        write(folder)
        os._exit(0)
    return process


def broken_parts(folder):
    """Try to read whatever has the name of a part."""
    for path in sorted((folder / "parts").glob("part-*.parquet")):
        found = verify_tokens(path)
        yield from map(str, found.problems)
        if found.rows != 40:
            yield f"{path}: has {found.rows} rows"


def main(folder, wanted):
    begin = time.monotonic()
    os.waitpid(child(folder / "undisturbed"), 0)
    usual = time.monotonic() - begin
    moments = random.Random(len(str(folder)))  # noqa: S311 (moments, no secrets)
    kills = sets = halfway = 0
    broken = []
    while kills < wanted:
        target = folder / f"killed-{sets}"
        status, longest = -1, usual / 2
        while status != 0:
            process = child(target)
            time.sleep(moments.uniform(0, longest))
            longest *= 1.1  # a machine that has become busy since gets on all the same
            os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
            if status not in (0, signal.SIGKILL):
                sys.exit(f"{target}: a writer failed by itself, see above")
            kills += status != 0
            pid = os.fork()  # what is read here must not start threads in the parent of writers
            if pid == 0:
                found = list(broken_parts(target))
                (folder / "found.json").write_text(json.dumps(found))
                os._exit(0)
            os.waitpid(pid, 0)
            broken += json.loads((folder / "found.json").read_text())
            halfway += 0 < len(list((target / "parts").glob("part-*.parquet"))) < PARTS
        sets += 1
    print(json.dumps({"kills": kills, "sets": sets, "halfway": halfway, "broken": broken}))  # noqa: T201


main(Path(sys.argv[1]), int(sys.argv[2]))
