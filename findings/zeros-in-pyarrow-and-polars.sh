#!/bin/sh
# One column of 0.0 and -0.0 has two distinct values in pyarrow and one in polars.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0
"$folder/venv/bin/python" - <<'EOF'
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

print("pyarrow", pa.__version__, "polars", pl.__version__)
column = pa.array([0.0, -0.0])
arrow = len(pc.unique(column))
polars = pl.from_arrow(column).n_unique()
print("distinct in pyarrow:", arrow, "in polars:", polars, "equal:", pc.equal(column[0], column[1]).as_py())
assert (arrow, polars) == (2, 1)
assert pc.equal(column[0], column[1]).as_py()
EOF
