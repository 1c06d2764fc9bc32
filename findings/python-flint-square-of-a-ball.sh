#!/bin/sh
# The square of a ball whose midpoint is 0 is nan by **, and a ball by *.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check python-flint==0.9.0
"$folder/venv/bin/python" - <<'EOF'
import flint

print("python-flint", flint.__version__)
third = flint.arb(1) / 3
ball = third - third
print("1/3 - 1/3:", ball, "squared by **:", ball**2, "by *:", ball * ball)
beside = ball + 1e-30
print("beside 0:", beside, "squared by **:", beside**2)
assert ball.contains(0) and ball.is_finite()
assert not (ball**2).is_finite()
assert (ball * ball).is_finite() and (beside**2).is_finite()
EOF
