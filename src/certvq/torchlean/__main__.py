"""`python -m certvq.torchlean FILE...`: what `lake exe verify -- crown-query FILE` would say.

In: files. Out: a line for each, and status 1 if one is refused. Must not write anything.
"""

import sys
from pathlib import Path

from certvq.torchlean import check_document

if __name__ == "__main__":
    verdicts = [(name, check_document(Path(name).read_text("utf-8"))) for name in sys.argv[1:]]
    for name, verdict in verdicts:
        print(f"{name}: {'proved' if verdict.accepted else f'not proved: {verdict.reason}'}")  # noqa: T201
    sys.exit(any(not verdict.accepted for _, verdict in verdicts))
