"""How much a Parquet file unpacks to, read off its footer and the headers of its pages.

In: the bytes of a file of unknown origin. Out: sizes, before anything is unpacked. Page headers say
what is allocated, whatever the footer says; and pyarrow ends the process where it is asked for the
sizes of a damaged footer. Must not import anything of certvq, nor pyarrow.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = (
    *(0, 1, 2, 3, 7, 8, 9, 10, 11, 12),
)
_DEEPEST: Final = 16
"""Structures within structures: those of a token file are 7 deep. A file of unknown origin must not
bring Python's stack to its end."""


@dataclass(frozen=True)
class Sizes:
    """Rows, numbers in all pages, and bytes of all pages once they are decompressed."""

    rows: int
    numbers: int
    unpacked: int
    groups: tuple[tuple[int, int], ...]

    def largest(self, number: int) -> int:
        """Return the bytes that the largest row group takes, with `number` for each number."""
        return max((unpacked + number * numbers for numbers, unpacked in self.groups), default=0)


def parquet_sizes(data: bytes | mmap.mmap) -> Sizes:
    """Add up the sizes of all pages.

    Args:
        data: the whole file.

    Raises:
        ValueError: footer or page headers are damaged.
    """
    try:
        length = int.from_bytes(data[-8:-4], "little")
        footer = _Compact(data, len(data) - 8 - length).struct()
        rows, groups = footer[3], []
        for group in footer[4]:
            pages = [page for chunk in group[1] for page in _pages(data, chunk[3])]
            numbers = [next(p[f][1] for f in (5, 7, 8) if f in p) for p in pages]
            unpacked = [page[2] for page in pages]
            if min([*numbers, *unpacked, 0]) < 0:
                raise ValueError("a negative size")
            groups.append((sum(numbers), sum(unpacked)))
    except (KeyError, IndexError, TypeError, StopIteration, OverflowError) as error:
        raise ValueError("its footer or a header of a page") from error
    if rows < 0:
        raise ValueError("a negative size")
    return Sizes(rows, sum(n for n, _ in groups), sum(u for _, u in groups), tuple(groups))


def sizes_of_file(path: Path) -> Sizes:
    """Add up the sizes of all pages of a file.

    Raises:
        ValueError: it is empty, or damaged.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return parquet_sizes(data)


def _pages(data: bytes | mmap.mmap, column: dict[int, Any]) -> list[dict[int, Any]]:
    if column[5] == 0:
        return []  # its places mean nothing then
    begin = min(column[9], column.get(11) or column[9])
    end = begin + column[7]
    if not 0 <= begin <= end <= len(data):
        raise ValueError("the place of a column")
    pages: list[dict[int, Any]] = []
    while begin < end:
        reader = _Compact(data, begin)
        pages.append(reader.struct())
        if pages[-1][3] < 0 or pages[-1][2] < 0:
            raise ValueError("the size of a page")
        begin = reader.place + pages[-1][3]
    return pages


class _Compact:
    """Read structures of Thrift's compact protocol as dictionaries from field to value."""

    def __init__(self, data: bytes | mmap.mmap, place: int) -> None:
        if place < 0:
            raise ValueError("the length of its footer")
        self.data, self.place = data, place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deep")
        fields: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _MAP or kind > _STRUCT:
            raise ValueError("a kind of field that Parquet does not have")
        return self._signed()

    def _signed(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while shift < 70:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise ValueError("a number of too many bytes")

    def _byte(self) -> int:
        byte = self.data[self.place]
        self.place += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        if self.place + count > len(self.data):
            raise ValueError("a text that is cut")
        self.place += count
        return self.data[self.place - count : self.place]
