#!/bin/sh
# FSQ of 1500 x 3 levels: a large latent gets index 4500 of 4500, which decodes to the lowest levels.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 vector-quantize-pytorch==1.32.0
"$folder/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import torch
from vector_quantize_pytorch import FSQ

print("vector-quantize-pytorch", version("vector-quantize-pytorch"))
layer = FSQ([1500, 3])
quantized, index = layer(torch.full((1, 1, 2), 30.0))
decoded = layer.indices_to_codes(index)
print("codes:", layer.codebook_size, "index:", index.item(), "quantized:", quantized.tolist(), "decoded:", decoded.tolist())
assert index.item() >= layer.codebook_size
assert not torch.allclose(quantized, decoded)
EOF
