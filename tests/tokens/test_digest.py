"""The checksum covers every field, key, number and code, and their order."""

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np

from certvq.tokens import TokenRecord
from certvq.tokens._digest import content_digest


def test_it_is_the_documented_one():
    record = TokenRecord("é", (1, 2), (4, 7), np.array([3, 258]))
    hashed = json.dumps({"a": [1], "b": "x"}).encode() + b"\n"
    hashed += struct.pack("<5q", 2, 1, 2, 4, 7) + "é".encode() + struct.pack("<2q", 3, 258)
    expected = hashlib.sha256(hashed).hexdigest()
    assert content_digest({"b": "x", "a": [1]}, [record]) == expected


def test_every_part_counts(records):
    first, second = records
    changed = first.codes.copy()
    changed[-1] += 1
    contents = [
        ({"k": 1}, records),
        ({"k": 2}, records),
        ({"j": 1}, records),
        ({"k": 1}, [second, first]),
        ({"k": 1}, [first]),
        ({"k": 1}, []),
        ({"k": 1}, [replace(first, key="cats/tim"), second]),
        ({"k": 1}, [replace(first, shape=(8, 2), size=(31, 8)), second]),
        ({"k": 1}, [replace(first, size=(8, 30)), second]),
        ({"k": 1}, [replace(first, codes=changed), second]),
        ({"k": 1}, [replace(first, codes=first.codes[::-1]), second]),
    ]
    assert len({content_digest(*content) for content in contents}) == len(contents)
