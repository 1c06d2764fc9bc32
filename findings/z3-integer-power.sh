#!/bin/sh
# 2 ** -1 of integers simplifies to 0, of reals to 1/2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check z3-solver==5.4.1.0
"$folder/venv/bin/python" - <<'EOF'
import z3

print("z3", z3.get_version_string())
whole = z3.simplify(z3.IntVal(2) ** z3.IntVal(-1))
real = z3.simplify(z3.RealVal(2) ** z3.RealVal(-1))
print("integers:", whole, whole.sort(), "reals:", real, real.sort())
assert str(whole) == "0" and str(real) == "1/2"
EOF
