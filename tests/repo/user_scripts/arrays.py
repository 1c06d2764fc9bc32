"""What a user of arrays writes: search, audit, repair, a backend of their own."""

import numpy as np
import numpy.typing as npt

import certvq
from certvq.errors import CertVQError

Floats = npt.NDArray[np.float32]


def argmin_of_mine(latents: Floats, codebook: Floats) -> npt.NDArray[np.int64]:
    scores = latents @ codebook.T - (codebook**2).sum(1) / 2
    return np.asarray(scores.argmax(1), dtype=np.int64)


def share_of_wrong_codes(latents: Floats, codebook: Floats) -> float:
    codes = argmin_of_mine(latents, codebook)
    report = certvq.audit(latents, codebook, codes)
    return len(report.violations) / report.rows


def complaint_about(latents: Floats, codebook: Floats) -> str:
    try:
        certvq.assign(latents, codebook)
    except CertVQError as error:
        return str(error)
    return ""


def main() -> None:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((100, 8), dtype=np.float32)
    codebook = rng.standard_normal((16, 8), dtype=np.float32)
    found: certvq.Assignment = certvq.assign(latents, certvq.prepare(codebook))
    counts: dict[str, int] = found.counts()
    rows: int = certvq.check.verify(found, latents, codebook).rows
    assert sum(counts.values()) == rows == 100
    assert share_of_wrong_codes(latents, codebook) <= 1
    codes = argmin_of_mine(latents, codebook)
    fixed = certvq.certify(latents, codebook, codes, on_violation="repair")
    assert (fixed.codes == found.codes).all()
    assert (certvq.stability_radius(latents, codebook, found.codes) >= 0).all()
    certvq.register_backend("mine", argmin_of_mine)
    again = certvq.assign(latents, codebook, backend="mine", second=True)
    assert (again.codes == found.codes).all()
    certvq.unregister_backend("mine")
    assert "row 0" in complaint_about(np.full((1, 8), np.nan, dtype=np.float32), codebook)


if __name__ == "__main__":
    main()
