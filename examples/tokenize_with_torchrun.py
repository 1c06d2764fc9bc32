"""Tokenize a folder on all processes of torchrun; a run that was ended is continued.

    torchrun --nproc-per-node 4 examples/tokenize_with_torchrun.py MODEL SOURCE OUT

Each process makes every so-manieth part that is missing. The first one holds the folder and enters
the parts in the manifest; the bytes are those of `certvq tokenize`.
"""

import argparse
from contextlib import nullcontext

import torch
import torch.distributed as dist

from certvq.tokenize import Making, TokenEncoder, columns, job_of, plan
from certvq.tokens import DatasetWriter, Part, write_part


def tokenize(model: str, source: str, out: str, *, device: str = "cpu") -> int:
    """Make the parts that are missing; returns how many this process made."""
    rank, processes = dist.get_rank(), dist.get_world_size()
    making = Making(TokenEncoder(model, device=device, threads=1))
    parts = plan([source], making.encoder.codec.modality)
    job = job_of(making, parts)
    with DatasetWriter(out, job) if rank == 0 else nullcontext() as writer:
        missing = [() if writer is None else writer.missing]
        dist.broadcast_object_list(missing)
        own = [
            write_part(out, job, number, columns(parts[number], making))
            for number in missing[0][rank::processes]
        ]
        made: list[list[Part]] = [[] for _ in range(processes)]
        dist.all_gather_object(made, own)
        for part in (part for some in made for part in some):
            if writer is not None:
                writer.add(part)
    return len(own)


def main() -> None:
    """Run as torchrun starts it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "source", "out"):
        parser.add_argument(name)
    options = parser.parse_args()
    dist.init_process_group("gloo")
    device = f"cuda:{dist.get_rank()}" if torch.cuda.is_available() else "cpu"
    made = tokenize(options.model, options.source, options.out, device=device)
    print(f"process {dist.get_rank()} made {made} parts")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
