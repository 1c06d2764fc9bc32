"""The page itself: a run directory in, `report.html` out.

In: the path of a run directory. Out: one file that opens offline. Reading, pictures, charts and
words are the business of the other modules; this one hands them to the template.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from certvq._files.atomic import atomic_path
from certvq._types import Progress, no_progress
from certvq._version import __version__
from certvq.report import _view, _words
from certvq.report._canonical import canonical_view
from certvq.report._charts import codec_bars, loss_charts
from certvq.report._colours import code_colours
from certvq.report._pictures import code_tints
from certvq.report._stability import stability
from certvq.report._training import NOT_MADE, is_training, training_context
from certvq.runs import RunFiles
from certvq.runs._read import Run, read_run

_MOST_PHOTOS = 12


def write_report(run_dir: Path, *, progress: Progress = no_progress) -> Path:
    """Write the page of a run as `report.html` into its directory.

    Args:
        run_dir: a directory that a finished run has written. Of a run that was only trained the
            page shows how; otherwise `summary.json`, `tokens.parquet` and `model/` are required,
            and where anything else is missing the page says so.
        progress: called with the stage ``"report"`` for each photograph shown, at most 12.

    Returns:
        The path of the page: one file, below about 10 MB, that loads nothing from any host.

    Raises:
        FileFormatError: `run_dir` is no run directory (the text names what was looked for), or a
            file in it is corrupt or does not belong to the others (the text names the file).
        DigestMismatchError: the model holds another codebook than the tokens were made with.
        OSError: a file cannot be read, or the page cannot be written.

    Guarantee: the same files give the same page, to the byte; on failure an older page stays.

    Example:
        >>> from pathlib import Path
        >>> write_report(Path("elsewhere"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        certvq.errors.FileFormatError: elsewhere: no run directory, looked for summary.json, ...
    """
    if is_training(run_dir):
        template, content = "training.html.j2", training_context(run_dir)
    else:
        template, content = "page.html.j2", _context(read_run(run_dir), progress)
    target = RunFiles(run_dir).report
    write_page(target, template, content)
    return target


def write_page(target: Path, template: str, content: dict[str, Any]) -> None:
    """Fill a template, and write the page whole or not at all.

    Raises:
        OSError: the page cannot be written.
    """
    page = _environment().get_template(template).render(_frame() | content)
    with atomic_path(target) as partial:
        partial.write_text(page, encoding="utf-8")


def missing_parts(run_dir: Path) -> tuple[str, ...]:
    """Name what a run directory lacks of that which its page can show.

    Args:
        run_dir: a directory of which `write_report` makes a page.

    Returns:
        Names below `run_dir`; ``"heldout/"`` alone where the whole folder is not there.

    Raises:
        FileFormatError, DigestMismatchError, OSError: as `write_report`.
    """
    if is_training(run_dir):
        return NOT_MADE
    missing = read_run(run_dir).missing
    if RunFiles(run_dir).heldout.is_dir():
        return _view.shortened(missing)
    return ("heldout/", *(name for name in missing if not name.startswith("heldout/")))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": _words.count,
        "decibels": _words.decibels,
        "decimals": _words.decimals,
        "gain": _words.gain,
        "script_json": _script_json,
    }
    return environment


def _asset(name: str) -> str:
    return resources.files("certvq.report").joinpath(name).read_text(encoding="utf-8")


def _script_json(text: str) -> Markup:
    # a script element is not unescaped, and only "<" can end it: JSON has another way to write it
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704


def _own_code(text: str) -> Markup:
    # style sheet and scripts are files of this package and of plotly, and no element ends in them
    return Markup(text)  # noqa: S704


def _context(run: Run, progress: Progress) -> dict[str, Any]:
    shown = run.photos[:_MOST_PHOTOS]
    tints = code_tints(shown, len(run.codebook))
    colours = code_colours(run.codebook, run.counts, tints=tints)
    radii = stability(run)
    photos: list[_view.PhotoView] = []
    for done, photo in enumerate(shown):
        progress("report", done, len(shown))
        photos.append(_view.photo_view(photo, colours, radii))
    progress("report", len(shown), len(shown))
    return {
        "summary": run.summary,
        "certified": run.summary.audit_violations == 0,
        "faults": _words.faults(run.summary),
        "figures": _words.figures(run.summary, run.header.channels),
        "violations": _words.violations(run.summary.audit_violations),
        "decided": _words.decided_rows(run.summary),
        "photos": photos,
        "any_kmeans": any(photo.kmeans for photo in shown),
        "stability": None if radii is None else _view.stability_view(radii),
        "canonical": canonical_view(run),
        "histogram": _view.histogram_view(run.counts, colours),
        "losses": loss_charts(run),
        "has_metrics": "metrics.jsonl" not in run.missing,
        "metrics_cut": run.metrics_cut,
        "codec": codec_bars(run, shown),
        "digests": _view.digests(run),
        "has_latents": not any("latents.npz" in name for name in run.missing),
        "train": _view.rows(run.train),
        "model": _view.rows(run.model),
        "versions": _view.versions(run),
        "missing": _view.shortened(run.missing),
    }


def _frame() -> dict[str, Any]:
    return {
        "version": __version__,
        "plotly": _own_code(get_plotlyjs()),
        "style": _own_code(_asset("page.css")),
        "script": _own_code(_asset("page.js")),
    }
