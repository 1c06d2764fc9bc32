"""A Lean file whose theorem says that given codes are the nearest ones.

In: packed latents and codebook, and codes. Out: the text of a file that imports nothing; Lean
accepts it just when every code is the lowest nearest one. Must not run Lean.
"""

from collections.abc import Sequence
from importlib import resources

from certvq._lean._packing import Packed, define_list


def certificate(packed: Packed, codes: Sequence[int]) -> str:
    """Write the certificate of some codes.

    Args:
        packed: latents and codebook.
        codes: one for each latent, from anywhere; a wrong one makes a file that Lean refuses.

    Returns:
        The definitions, the proof that the computation is sound, the data, and the theorem
        ``Certificate.certificate``.
    """
    head = resources.files("certvq._lean").joinpath("certificate.lean").read_text(encoding="utf-8")
    return head + claim(packed, codes)


def claim(packed: Packed, codes: Sequence[int], *, name: str = "Certificate") -> str:
    """Write the data and the theorem of a certificate, without what they rest on.

    Args:
        packed: latents and codebook.
        codes: one for each latent.
        name: of the namespace; several claims in one file need names of their own.

    Returns:
        Lean text whose last line but one holds the computation.
    """
    known = [code if 0 <= code < len(packed.codebook) else 0 for code in codes]
    distances = [packed.sqdist(row, code) for row, code in enumerate(known)]
    digits = len(packed.latents), len(packed.codebook), packed.dim
    return f"""
/-! ## The data

{digits[0]} latents, {digits[1]} code vectors, dimension {digits[2]}. An entry e stands for the \
number e * 2^({packed.exponent}). Each
entry takes {packed.bits // 4} hexadecimal digits; entry 0 stands last. -/

namespace {name}

{_lines(define_list("codebook", packed.codebook))}

{_lines(define_list("latents", packed.latents))}

{_lines(define_list("codes", codes, str))}

-- The squared distance of each latent to its code vector.
{_lines(define_list("distances", distances))}

/-- Each code is the nearest one of its latent, and the lowest among ties. -/
theorem certificate : Certificate.Certified {packed.bits} {packed.dim} codebook latents codes :=
  Certificate.sound {packed.bits} {packed.dim} codebook latents codes distances (by decide +kernel)

end {name}
"""


def _lines(definitions: list[str]) -> str:
    return "\n".join(definitions)
