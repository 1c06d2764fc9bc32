#!/bin/sh
# torch.export fails where two threads export at once, although each has a module of its own.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
from concurrent.futures import ThreadPoolExecutor

import torch

print("torch", torch.__version__)
example = (torch.zeros(1, 1, 9),)


def failed(threads):
    """Return how many of 40 exports raise an error."""

    def export(model):
        try:
            torch.export.export(model, example, strict=False)
        except Exception:
            return 1
        return 0

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(export, [torch.nn.Conv1d(1, 2, 3).eval() for _ in range(40)]))


one, four = failed(1), failed(4)
print("exports that fail: with one thread", one, "- with four", "some" if four else "none")
assert one == 0
assert four > 0
EOF
