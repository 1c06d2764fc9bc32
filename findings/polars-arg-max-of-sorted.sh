#!/bin/sh
# The same three numbers: their arg_max depends on whether polars knows that they are sorted.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check polars==2.1.0
"$folder/venv/bin/python" - <<'EOF'
import polars as pl

print("polars", pl.__version__)
plain = pl.Series([1, 2, 2])
known = plain.sort()
print("equal series:", plain.equals(known), "arg_max:", plain.arg_max(), known.arg_max())
assert plain.equals(known)
assert (plain.arg_max(), known.arg_max()) == (1, 2)
EOF
