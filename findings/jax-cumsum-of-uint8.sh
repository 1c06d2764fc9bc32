#!/bin/sh
# jnp.sum of uint8 widens to uint32, jnp.cumsum stays in uint8 and wraps; NumPy widens both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2 numpy==2.2.6
"$folder/venv/bin/python" - <<'EOF'
import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__)
host = np.array([200, 100], np.uint8)
lengths = jnp.array(host)
print("sum:", int(jnp.sum(lengths)), "cumsum:", jnp.cumsum(lengths).tolist(), "NumPy:", np.cumsum(host).tolist())
assert int(jnp.sum(lengths)) == 300
assert jnp.cumsum(lengths).tolist() == [200, 44]
assert np.cumsum(host).tolist() == [200, 300]
EOF
