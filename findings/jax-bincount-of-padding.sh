#!/bin/sh
# jnp.bincount counts -1 (padding) as code 0, and drops codes beyond the length; segment_sum drops both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2
"$folder/venv/bin/python" - <<'EOF'
import jax
import jax.numpy as jnp

print("jax", jax.__version__)
codes = jnp.array([0, 5, -1])
counts = jnp.bincount(codes, length=3).tolist()
sums = jax.ops.segment_sum(jnp.ones(3), codes, 3).tolist()
print("bincount:", counts, "segment_sum of ones:", sums)
assert counts == [2, 0, 0]
assert sums == [1.0, 0.0, 0.0]
EOF
