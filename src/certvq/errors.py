"""Every exception that certvq raises on purpose.

In: nothing. Out: one root, ``CertVQError``, and one class per kind of failure, each of which also
inherits the builtin that a caller would expect. Texts say what was required, what came (names,
numbers, the first bad index) and what to do. Must not import anything of certvq.
"""

from pathlib import Path

_LONGEST = 1000


def shortened(text: str) -> str:
    """Put a text on one line, without control characters, and cut a long one in its middle.

    Example:
        >>> shortened("two  words"), len(shortened("x" * 10**5))
        ('two words', 1000)
    """
    line = " ".join(text.split()) if len(text) <= _LONGEST else _cut(text)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _cut(text: str) -> str:
    half = (_LONGEST - 5) // 2
    return f"{' '.join(text[:half].split())} ... {' '.join(text[-half - 1 :].split())}"


class CertVQError(Exception):
    """Root of every exception that certvq raises on purpose."""


class ShapeError(CertVQError, ValueError):
    """An array has the wrong rank, or two arrays do not fit together."""


class DTypeError(CertVQError, TypeError):
    """An array has a number type that the contract does not cover."""


class NonFiniteError(CertVQError, ValueError):
    """NaN or infinity in an input; the text names the first bad row and column."""


class TransformError(CertVQError, RuntimeError):
    """A torch.func transformation meets a layer that does not support it."""


class DistributedError(CertVQError, RuntimeError):
    """A layer could not share what it learns with the other processes of its group."""


class ExportError(CertVQError, RuntimeError):
    """`torch.jit.trace` or `torch.onnx.export` meets a layer that a graph cannot represent."""


class CaptureError(CertVQError, RuntimeError):
    """A network is not a graph of operators whose real functions are known."""


class CodeRangeError(CertVQError, IndexError):
    """A code lies outside ``range(codebook_size)``."""


class OptionError(CertVQError, ValueError):
    """An option is out of its range, unknown, or contradicts another."""


class BackendError(CertVQError, RuntimeError):
    """A backend returned something that is not a vector of codes."""


class BackendUnavailableError(CertVQError, RuntimeError):
    """A backend is unknown, or what it needs is not installed."""


class DeviceError(CertVQError, RuntimeError):
    """Tensors that must share a device do not, or hold no numbers (the meta device)."""


class DeviceMemoryError(CertVQError, MemoryError):
    """A device has too little memory, even for small blocks; the text says how much is needed."""


class CertificateError(CertVQError, RuntimeError):
    """Codes that were claimed to be the lowest nearest ones are not."""


class FloatEnvironmentError(CertVQError, RuntimeError):
    """A processor computes otherwise than is assumed of it.

    It flushes subnormal numbers, rounds in another mode, or has tensor cores that err by more.
    """


class UnknownQuantizerError(CertVQError, TypeError):
    """A module has no vector quantizer that certvq knows, or one whose argmin it cannot find."""


class DataError(CertVQError, ValueError):
    """Images cannot be used: unreadable, too small, of mixed channels, or none left."""


class EmptyCellError(CertVQError, RuntimeError):
    """A cell of k-means has no row of positive weight, and the caller asked for an error."""


class FileFormatError(CertVQError, ValueError):
    """A file of tokens, a model or a checkpoint is corrupt, truncated or of another version.

    The text may quote the file: it is one line of at most 1,000 characters.
    """

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text))


class DigestMismatchError(FileFormatError):
    """Tokens were made with a different codebook or model than the one used to decode them."""


class ProofError(CertVQError, RuntimeError):
    """A theorem is not proved.

    Attributes:
        countermodel: the solver's counterexample if it answered sat; else empty.
        smt2: path of the query that was not decided; else None.
    """

    def __init__(self, text: str, *, countermodel: str = "", smt2: Path | None = None) -> None:
        super().__init__(text)
        self.countermodel = countermodel
        self.smt2 = smt2


class SolverDisagreementError(ProofError):
    """One solver finds a query satisfiable, another finds it unsatisfiable."""


class SolverUnavailableError(CertVQError, RuntimeError):
    """A requested solver is not installed."""


class LeanUnavailableError(SolverUnavailableError):
    """Lean, or the Node.js or npm that it needs here, is missing or too old."""


class LeanError(CertVQError, RuntimeError):
    """Lean ran but gave no answer: it crashed or timed out."""
