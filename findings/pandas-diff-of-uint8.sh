#!/bin/sh
# The differences of uint8 numbers wrap around, although they are floats.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pandas==3.1.1
"$folder/venv/bin/python" - <<'EOF'
import pandas as pd

print("pandas", pd.__version__)
found = pd.Series([200, 100], dtype="uint8").diff()
print("diff:", found.tolist(), found.dtype, "expected: [nan, -100.0]")
assert found.dtype.kind == "f"
assert found[1] == 156.0
EOF
