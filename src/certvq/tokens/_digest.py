"""The checksum of a token file.

In: header fields and records. Out: a SHA-256 over their meaning, not their encoding. Must not
import pyarrow.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from certvq.tokens._record import TokenRecord


def content_digest(fields: Mapping[str, Any], records: Sequence[TokenRecord]) -> str:
    """Hash header fields and records.

    Args:
        fields: JSON values by name; their order does not matter.
        records: in order.

    Returns:
        SHA-256 in hexadecimal over the fields as JSON with sorted keys and, for each record, the
        length of its key in bytes, the key in UTF-8, rows, columns, height, width and the codes:
        numbers as little-endian int64. Every record is of a length that its own beginning tells, so
        that unlike contents cannot run together into the same bytes.
    """
    total = hashlib.sha256(json.dumps(fields, sort_keys=True).encode() + b"\n")
    for record in records:
        key = record.key.encode()
        numbers = (len(key), *record.shape, *record.size)
        total.update(np.array(numbers, dtype="<i8").tobytes() + key)
        total.update(record.codes.astype("<i8", copy=False).tobytes())
    return total.hexdigest()
