#!/bin/sh
# argmin names the first of equal numbers; topk(1) of the same row names another.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/python" - <<'EOF'
import torch

print("torch", torch.__version__)
scores = torch.tensor([[1.0, 0.0, 0.0, 0.0] * 8])
first = scores.argmin(1).item()
top = scores.topk(1, largest=False).indices.item()
two = scores.topk(2, largest=False).indices[0].tolist()
print("argmin:", first, "topk(1):", top, "topk(2):", two)
assert first == 1
assert top != 1 and two != [1, 2]
EOF
