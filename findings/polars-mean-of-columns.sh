#!/bin/sh
# The mean of the uint8 columns 200 and 100, row by row, is 22; the mean of a column widens.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check polars==2.1.0
"$folder/venv/bin/python" - <<'EOF'
import polars as pl

print("polars", pl.__version__)
frame = pl.DataFrame({"a": [200], "b": [100]}, schema={"a": pl.UInt8, "b": pl.UInt8})
across = frame.select(pl.mean_horizontal("a", "b")).item()
down = pl.Series([200, 100], dtype=pl.UInt8).mean()
print("mean_horizontal:", across, "mean:", down)
assert across == 22.0
assert down == 150.0
EOF
