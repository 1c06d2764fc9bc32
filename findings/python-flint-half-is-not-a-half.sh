#!/bin/sh
# fmpq(1, 2) equals neither 0.5 nor Fraction(1, 2); no error is raised.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check python-flint==0.9.0
"$folder/venv/bin/python" - <<'EOF'
from fractions import Fraction

import flint

print("python-flint", flint.__version__)
half = flint.fmpq(1, 2)
print("== 0.5:", half == 0.5, "== Fraction(1, 2):", half == Fraction(1, 2), "== fmpq(2, 4):", half == flint.fmpq(2, 4))
assert half == flint.fmpq(2, 4)
assert not half == 0.5
assert not half == Fraction(1, 2)
EOF
