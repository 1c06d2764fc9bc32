"""Launch the kernels as calls do, for a GPU that is not there: all but the launch itself.

In: on stdin, a JSON list of [capability, N, K, D, type of number]. Out: JSON on stdout, for each of
them the kernels that were compiled, with the shared memory that they need. A driver that names the
GPU stands in for NVIDIA's; Triton's own just-in-time compiler reads the arguments, specialises the
kernels for integers that are 1 or multiples of 16, and compiles them. What is computed is nothing.
"""

import json
import sys

import numpy as np
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.errors import OutOfResources
from triton.runtime.jit import JITFunction

from certvq._triton import _launch, decide, make_tables


class Driver:
    """What the compiler asks of a driver."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_device(self):
        return self.capability  # compiled kernels are kept for each device

    def get_current_stream(self, device):
        return 0 * device

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)


def compile_only(launched, devices):
    """Let kernels compile and not run; blocks that need too much shared memory are refused."""
    whole = JITFunction.run

    def run(self, *arguments, grid, warmup, **options):
        made = whole(self, *arguments, grid=grid, warmup=True, **options)
        name, shared = self.__name__, made.metadata.shared
        limit = devices[driver.active.capability].shared
        if shared > limit:
            raise OutOfResources(shared, limit, "shared memory")
        launched.append([name, shared, made.asm["ptx"].count(".ftz")])

    JITFunction.run = run


def main():
    from _compile import DEVICES

    found, launched = {}, []
    compile_only(launched, DEVICES)
    for capability, rows, codes, dim, dtype in json.load(sys.stdin):
        driver.set_active(Driver(capability))
        _launch.describe = lambda _, capability=capability: DEVICES[capability]
        vectors = np.random.default_rng(0).standard_normal((codes, dim))
        tables = make_tables(vectors, np.arange(codes), torch.device("cpu"))
        latents = torch.zeros(rows, dim, dtype=getattr(torch, dtype))
        for given in (latents, latents.t().contiguous().t()):
            launched.clear()
            decide(given, tables)
            name = f"{capability} {rows} {codes} {dim} {dtype} {given.stride()}"
            found[name] = list(launched)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
