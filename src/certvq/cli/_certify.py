"""`certvq certify`: codes from elsewhere, certified, with a certificate that Lean checks."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from certvq.cli._options import Json


class OnViolation(str, Enum):
    """What to do about a code that is not the lowest nearest one."""

    RAISE = "raise"
    REPAIR = "repair"
    REPORT = "report"


def certify(  # noqa: PLR0913 (a command's options are its arguments)
    latents: Annotated[Path, typer.Argument(metavar="LATENTS", help=".npy, (N, D).")],
    codebook: Annotated[
        Path, typer.Argument(metavar="CODEBOOK", help=".npy, (K, D), or a folder of a model.")
    ],
    codes: Annotated[Path, typer.Argument(metavar="CODES", help=".npy, integers (N,).")],
    *,
    on_violation: Annotated[
        OnViolation,
        typer.Option(help="Refuse with the first one, put the right code there, or list them all."),
    ] = OnViolation.RAISE,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Receives the certified codes, .npy.", show_default=False
        ),
    ] = None,
    lean: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Receives a Lean 4 file that proves the codes right, from nothing but Lean.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Let Lean check that file.")] = False,
    torchlean: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Receives documents that TorchLean's checker reads, one or two for each code.",
            show_default=False,
        ),
    ] = None,
    radius: Annotated[
        float,
        typer.Option(metavar="R", help="They speak of all inputs in a box this far around each."),
    ] = 0.0,
    encoder: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="They begin before these linear layers with ReLU between them (safetensors).",
            show_default=False,
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What enters the encoder, .npy, (N, I).", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Certify codes of any origin: each must be the lowest of the nearest ones.

    Example: certvq certify latents.npy codebook.npy codes.npy --lean codes.lean --check

    Lean's kernel computes every distance: 5,000 to 9,000 coordinates a second. 64 rows, 64 codes of
    dimension 8 took 8 seconds, 16 rows, 512 codes of dimension 32 took 30, besides half a minute to
    two minutes to start. Up to a million rows x codes x dim is practical; split what is larger.

    Example: certvq certify latents.npy codebook.npy codes.npy --torchlean documents --radius 0.01

    Each document is checked in exact rationals as it was written; TorchLean's own command is
    `lake exe verify -- crown-query FILE`. A code that is not proved in the whole box has none.

    Exit status 1: a code is wrong and was not repaired, Lean refuses the file, or a document for
    TorchLean does not prove its code.
    """
    from certvq.cli._output import progress_bars, show_certified
    from certvq.errors import OptionError
    from certvq.jobs import TorchLean, certify_file

    if torchlean is None and (radius or encoder or inputs):
        raise OptionError("--radius, --encoder and --inputs need --torchlean FOLDER")
    documents = TorchLean(torchlean, radius, encoder, inputs) if torchlean else None

    with progress_bars() as progress:
        found = certify_file(
            latents,
            codebook,
            codes,
            out=out,
            on_violation=on_violation.value,
            lean=lean,
            check=check,
            torchlean=documents,
            progress=progress,
        )
    if on_violation is OnViolation.RAISE and not found.audit.ok and not as_json:
        first = found.audit.violations[0].violation
        print(  # noqa: T201 (standard error is the place)
            f"certvq: refused: {len(found.audit.violations)} of {found.audit.rows} codes are not "
            f"the lowest nearest ones; the first at row {first.row}: code {first.code}, nearest "
            f"{first.nearest}; --on-violation report lists them, repair repairs them",
            file=sys.stderr,
        )
    else:
        show_certified(found.to_json(), as_json=as_json)
    if not found.ok:
        raise typer.Exit(1)
