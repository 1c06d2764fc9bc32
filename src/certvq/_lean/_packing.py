"""Floats as integers that Lean can read.

In: matrices of finite floats. Out: all of them as integers over one power of two, each vector
packed into one natural number, as `CertVQ.unpack` and the certificates read it. Must not import
anything that runs Lean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Vectors: TypeAlias = Sequence[Sequence[float]]

_HEX_DIGIT: Final = 4
_LITERAL: Final = 64
"""Entries of one definition; Lean recurses once for each."""


@dataclass(frozen=True)
class Packed:
    """Latents and a codebook in integers.

    Entry k of a vector is ``(number >> bits * k) % 2**bits - 2**(bits - 1)``, and stands for that
    times ``2**exponent``.

    Attributes:
        bits: of each entry, a multiple of 4, so that hexadecimal digits show the entries.
        exponent: of the power of two.
        dim: D.
        latents: one natural number for each of the N rows.
        codebook: one for each of the K code vectors.
    """

    bits: int
    exponent: int
    dim: int
    latents: tuple[int, ...]
    codebook: tuple[int, ...]

    def sqdist(self, row: int, code: int) -> int:
        """Return the squared distance of a latent to a code vector, in units of ``4**exponent``."""
        base = 1 << self.bits
        x, y, total = self.latents[row], self.codebook[code], 0
        for _ in range(self.dim):
            total += (x % base - y % base) ** 2
            x, y = x >> self.bits, y >> self.bits
        return total


def pack(latents: Vectors, codebook: Vectors) -> Packed:
    """Scale floats to integers and pack them.

    Args:
        latents: (N, D) finite.
        codebook: (K, D) finite, K >= 1.

    Returns:
        The least `bits` and the greatest `exponent` that hold every number.

    Example:
        >>> packed = pack([[0.5, -1.0]], [[0.0, 2.0]])
        >>> packed.bits, packed.exponent, [hex(vector) for vector in packed.latents]
        (4, -1, ['0x69'])
    """
    ratios = [
        [[value.as_integer_ratio() for value in row] for row in m] for m in (latents, codebook)
    ]
    entries = [ratio for matrix in ratios for row in matrix for ratio in row]
    finest = max(bottom for _, bottom in entries)
    scaled = [
        [[top * (finest // bottom) for top, bottom in row] for row in matrix] for matrix in ratios
    ]
    common = 0
    for value in (value for matrix in scaled for row in matrix for value in row):
        common |= abs(value)
    shift = (common & -common).bit_length() - 1 if common else 0
    bits = -(-((common >> shift).bit_length() + 1) // _HEX_DIGIT) * _HEX_DIGIT
    points, vectors = ([_packed(row, shift, bits) for row in matrix] for matrix in scaled)
    exponent = shift - (finest.bit_length() - 1)
    return Packed(bits, exponent, len(codebook[0]), tuple(points), tuple(vectors))


def define_list(name: str, numbers: Sequence[int], write: Callable[[int], str] = hex) -> list[str]:
    """Define a list of natural numbers in Lean, of any length, one definition to a line.

    Example:
        >>> define_list("codes", [1, 12], str)
        ['def codes : List Nat := [1, 12]']
    """
    starts = list(range(0, len(numbers), _LITERAL)) or [0]
    lines: list[str] = []
    for start in reversed(starts):
        part = [write(number) for number in numbers[start : start + _LITERAL]]
        own = f"{name}{start}" if start else name
        rest = f"{name}{start + _LITERAL}" if lines else ""
        whole = " :: ".join([*part, rest]) if lines else f"[{', '.join(part)}]"
        lines.append(f"def {own} : List Nat := {whole}")
    return lines


def _packed(row: list[int], shift: int, bits: int) -> int:
    middle = 1 << (bits - 1)
    number = 0
    for entry in reversed(row):
        number = number << bits | (entry >> shift) + middle
    return number
