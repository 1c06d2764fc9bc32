"""Fixtures shared by all tests, tiers of tests, and tests of many rows.

**Tiers.** A test is quick unless a mark of `TIERS` says otherwise, and `python -m pytest` runs the
quick ones; `--tier all` runs all, and so does naming files, `-m` or `-k`. Three marks set
themselves: `isa` where a parameter names an instruction set that is not the best one, `peer` where
a file imports another library as `original`, `slow` where a test uses the two processes of `pair`.
The summary names each quick test that took longer than `QUICK_SECONDS`.

**Rows.** `@pytest.mark.rows` has the arguments of `parametrize`, but makes one test of them, which
says the row that failed. It is for rows that take no time and check one table.
"""

import contextlib
import copy
import inspect
import itertools
import os
import runpy
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # on the CPU; `make gpu-test` compiles the kernels
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job ignores Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
if find_spec("jaxtyping") and os.environ.get("CERTVQ_SHAPES") != "0":  # before certvq is imported
    runpy.run_path(str(Path(__file__).parent / "shapes.py"))["install"]()


collect_ignore = ["mutants.py", "tokens/killed.py"]
"""Scripts."""

TIERS = ("slow", "isa", "peer", "browser", "lean", "solver", "gpu", "ray")
QUICK_SECONDS = 10.0
SEED = 20261122
_LEFT = pytest.StashKey[int]()
"""How many tests another tier has."""


def pytest_addoption(parser):
    parser.addoption(
        "--tier", choices=["quick", "all"], help="tests to run; quick if nothing else is asked for"
    )


def pytest_configure(config):
    """Choose the tier before xdist starts its processes, which are given what was chosen."""
    option = config.option
    if option.tier is None:
        asked = option.markexpr or option.keyword
        plain = config.args_source is config.ArgsSource.TESTPATHS and not asked
        option.tier = "quick" if plain else "all"
    config.stash[_LEFT] = 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Set the marks that set themselves, and leave out what is of another tier."""
    from certvq import _native

    slower = set(_native.isas()[1:])
    for item in items:
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if any(isinstance(value, str) and value in slower for value in given):
            item.add_marker("isa")
        if "pair" in item.fixturenames:
            item.add_marker("slow")  # two processes that import torch
        if inspect.ismodule(getattr(getattr(item, "module", None), "original", None)):
            item.add_marker("peer")
    if config.option.tier == "quick":
        left = [item for item in items if _tiers_of(item)]
        items[:] = [item for item in items if not _tiers_of(item)]
        config.stash[_LEFT] = len(left)
        config.hook.pytest_deselected(items=left)


def _tiers_of(item):
    return {mark.name for mark in item.iter_markers()} & set(TIERS)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash[_LEFT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    left = getattr(node, "workeroutput", {}).get("left", 0)
    node.config.stash[_LEFT] = max(left, node.config.stash[_LEFT])


def pytest_terminal_summary(terminalreporter, config):
    """Say in plain words what ran and what did not."""
    count = {name: len(terminalreporter.stats.get(name, ())) for name in ("passed", "failed")}
    terminalreporter.section("summary")
    terminalreporter.write_line(f"{count['passed']} tests passed, {count['failed']} failed.")
    if config.option.tier == "quick":
        terminalreporter.write_line(
            f"These are the quick ones; `make test-all` also runs the other {config.stash[_LEFT]}: "
            "other instruction sets, the libraries that certvq is compared with, provers, pictures "
            "in a browser, and what takes long."
        )
    for report in terminalreporter.stats.get("passed", ()):
        if report.duration > QUICK_SECONDS and not set(TIERS) & set(report.keywords):
            terminalreporter.write_line(
                f"{report.nodeid} took {report.duration:.0f} s: make it faster, or mark it slow"
            )


def pytest_generate_tests(metafunc):
    """Give a test of many rows its arguments; `pytest_pyfunc_call` puts rows in their place."""
    for names, _ in _axes(metafunc.definition):
        metafunc.parametrize(names, [pytest.param(*(None for _ in names), id="rows")])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Call a test of many rows once for each, with fresh random numbers and nothing patched."""
    axes = _axes(pyfuncitem)
    if not axes:
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    given = {name: pyfuncitem.funcargs[name] for name in wanted}
    for rows in itertools.product(*(values for _, values in axes)):
        pairs = [zip(names, row, strict=True) for (names, _), row in zip(axes, rows, strict=True)]
        row = {name: value for pair in pairs for name, value in pair}
        try:
            with pytest.MonkeyPatch.context() as patch:
                fresh = {"rng": np.random.default_rng(SEED), "monkeypatch": patch}
                fresh = {name: value for name, value in fresh.items() if name in given}
                pyfuncitem.obj(**(given | fresh | row))
        except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
            text = f"in the row {row!r:.500}: {type(error).__name__}: {error}"
            raise AssertionError(text) from error
    return True


def _axes(item):
    """Read the marks: tuples of names, and lists of tuples of values."""
    axes = []
    for mark in item.iter_markers("rows"):
        names, values = mark.args
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
        several = len(names) > 1
        rows = [
            value.values if hasattr(value, "marks") else tuple(value) if several else (value,)
            for value in values
        ]
        assert rows, item.nodeid
        axes.append((tuple(names), rows))
    return axes


@pytest.fixture(autouse=True)
def _same_numbers():
    """What a test draws from torch's own generator is the same in every run and in any order."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)


@pytest.fixture
def rng(request):
    """Random numbers that are the same in every run."""
    request.node.add_report_section("setup", "seed", str(SEED))
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def pair():
    """Two processes of `torch.distributed`, for all tests; see `pair.py`."""
    two = runpy.run_path(str(Path(__file__).parent / "pair.py"))["Pair"]()
    yield two
    two.end()


@pytest.fixture(scope="session")
def hf_models():
    """Models of transformers and diffusers with random weights; see `hf_models.py`."""
    pytest.importorskip("transformers")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "hf_models.py")))


@pytest.fixture
def interrupt_everywhere():
    """Return a function that presses Ctrl-C at line after line of a step of a layer."""

    def interrupt(layer, step, check, *, most=60):
        """Interrupt a step at up to so many lines of certvq, the last ones among them.

        Args:
            layer: copied, to see how many lines there are.
            step: called with a layer.
            check: called with the layer and the number of the line after each.
        """
        twins = [copy.deepcopy(layer) for _ in range(2)]  # the first fills caches
        count = [_run_until(lambda twin=twin: step(twin), None) for twin in twins][-1]
        near = list(range(max(0, count - most // 2), count))
        far = range(0, count - len(near), max(1, 2 * (count - len(near)) // most))
        for line in [*far, *near]:
            with contextlib.suppress(KeyboardInterrupt):
                _run_until(lambda: step(layer), line)
                assert line > count - 15  # the first run may have cleared up after others
                break  # so that the line before was the last one
            check(layer, line)
        return count

    return interrupt


def _run_until(step, stop):
    """Run a step until a line of certvq; return how many lines it runs through."""
    import certvq

    seen, own = 0, str(Path(certvq.__file__).parent) + os.sep  # not of a clone of this name

    def trace(frame, event, _):
        nonlocal seen
        if not frame.f_code.co_filename.startswith(own):
            return None
        if event == "line":
            seen += 1
            if stop is not None and seen > stop:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    finally:
        sys.settrace(before)
    return seen
