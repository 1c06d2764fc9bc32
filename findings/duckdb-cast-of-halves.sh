#!/bin/sh
# 2.5 becomes 2 or 3 as an integer, by the type that it had; round() of the double is 3.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check duckdb==2.0.1
"$folder/venv/bin/python" - <<'EOF'
import duckdb

print("duckdb", duckdb.__version__)
row = duckdb.sql("select 2.5::double::int, 2.5::decimal(3,1)::int, 2.5::int, round(2.5::double)").fetchall()[0]
print("double cast, decimal cast, literal cast, round:", row)
assert row == (2, 3, 3, 3.0)
EOF
