"""What a user reads runs as it is written, and every public name is in the reference."""

import doctest
import importlib.util
import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from certvq.nn import BaseQuantizer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SLOW = {"compile.md", "training.md", "tutorial.md", "distributed.md"}
"""Pages whose blocks compile or train."""
DEMO = "certvq demo --out runs/demo"
SHORTER = {"certvq demo": ["--seconds", "5"]}
"""Options that a test adds to a command that would take minutes as it is written."""


def load_reference_writer():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = load_reference_writer()


def blocks(language):
    for page in PAGES:
        code = [body for name, body in FENCE.findall(page.read_text()) if name == language]
        if code:
            slow = pytest.mark.slow if page.name in SLOW else ()
            yield pytest.param(page, code, id=page.name, marks=slow)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # torch's compiler, of its own
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # exporters
@pytest.mark.parametrize(("page", "code"), list(blocks("python")))
def test_python_of_a_page_runs(page, code, tmp_path, monkeypatch):
    """The blocks of a page run one after another, prompts and their output included."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem}
    for number, block in enumerate(code):
        if ">>>" in block:
            parser, runner = (
                doctest.DocTestParser(),
                doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE),
            )
            case = parser.get_doctest(block, names, f"{page.name}[{number}]", str(page), 0)
            assert runner.run(case, clear_globs=False).failed == 0
            names.update(case.globs)
        else:
            exec(compile(block, f"{page.name}[{number}]", "exec"), names)  # noqa: S102


def run_line(line, folder):
    words = shlex.split(line, comments=True)
    words += SHORTER.get(" ".join(words[:2]), [])
    words[0] = str(Path(sys.executable).parent / words[0])
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the first command of several pages leaves."""
    folder = tmp_path_factory.mktemp("demo")
    run_line(DEMO, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), list(blocks("console")))
def test_commands_of_a_page_run(page, code, tmp_path, demo):
    """Lines after `$` run in an empty folder, in order; `make` lines are what CI itself runs."""
    for line in (line[2:] for block in code for line in block.splitlines() if line[:2] == "$ "):
        words = shlex.split(line, comments=True)
        if words[0] in {"make", "pip", "git", "cd"}:
            assert words[0] != "make" or f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
        elif line == DEMO:
            shutil.copytree(demo, tmp_path, dirs_exist_ok=True)
        else:
            run_line(line, tmp_path)


@pytest.mark.rows("module", REFERENCE.MODULES)
def test_every_export_is_documented(module):
    """Each has a docstring of its own and a line in docs/reference.md."""
    reference = (ROOT / "docs" / "reference.md").read_text()
    names = REFERENCE.public_names(module)
    assert names
    for name, value in names.items():
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"{module}.{name} has no docstring"
        assert f"`{module}.{name}`" in reference, f"{module}.{name} is not in docs/reference.md"


def test_no_line_of_arguments_leaves_some_out():
    """`first, ..., last: text` is no argument to mkdocstrings, which ends the strict build."""
    sources = (ROOT / "src" / "certvq").rglob("*.py")
    found = [p for p in sources if re.search(r"^ +\w+, \.\.\., \w+: ", p.read_text(), re.MULTILINE)]
    assert found == []


def test_every_package_has_its_section():
    """No public package is forgotten in the reference."""
    source = ROOT / "src" / "certvq"
    packages = {p.parent.name for p in source.glob("*/__init__.py") if p.parent.name[0] != "_"}
    named = {module.removeprefix("certvq.").split(".")[0] for module in REFERENCE.MODULES}
    # `theory` has a page of its own; `bench` is a command.
    assert packages - {"assign", "bench", "cli", "theory"} <= named


def test_reference_is_fresh():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_quantizer_is_explained():
    """In docs/quantizers.md what its codes are nearest to; in docs/migration.md what differs."""
    quantizers = (ROOT / "docs" / "quantizers.md").read_text()
    names = REFERENCE.public_names("certvq.nn")
    families = [name for name, value in names.items() if is_family(value)]
    assert {"VectorQuantize", "FSQ", "HierarchicalVQ"} <= set(families)
    assert [name for name in families if f"`{name}`" not in quantizers] == []
    migration = (ROOT / "docs" / "migration.md").read_text()
    headings = " ".join(re.findall(r"^### (.*)$", migration, flags=re.MULTILINE))
    classes = REFERENCE.public_names("certvq.compat.vector_quantize_pytorch").keys()
    unnamed = {name for name in classes if not re.search(rf"\b{name}\b", headings)}
    assert unnamed == {"LossBreakdown", "Sequential"}


def is_family(value):
    return (
        inspect.isclass(value)
        and issubclass(value, BaseQuantizer)
        and not inspect.isabstract(value)
    )


def test_links_of_the_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_architecture_names_every_package():
    text = (ROOT / "docs" / "architecture.md").read_text()
    source = ROOT / "src" / "certvq"
    packages = [*source.glob("*/__init__.py"), *(source / "nn").glob("*/__init__.py")]
    assert [p.parent.name for p in packages if not re.search(rf"\b{p.parent.name}\b", text)] == []


PLACES = [ROOT, ROOT / "src", ROOT / "src/certvq", ROOT / "src/certvq/nn"]
"""What a path in the text of a page is relative to."""


def test_paths_and_modules_that_a_page_names_exist():
    path = re.compile(r"`([\w./]+/[\w.]+\.(?:py|pyi|h|cpp|lean|md|txt|toml))`")
    missing = []
    for page in PAGES:
        prose = FENCE.sub("", page.read_text())
        files = [name for name in path.findall(prose) if not is_file(name)]
        names = [n for n in re.findall(r"`(certvq(?:\.\w+)+)[`(]", prose) if not is_importable(n)]
        missing += [f"{page.name}: {name}" for name in files + names]
    assert missing == []


def is_file(path):
    return any((place / path).exists() for place in PLACES)


def is_importable(name):
    """Say whether a dotted name is a module, or an attribute of one."""
    value, words = importlib.import_module("certvq"), name.split(".")[1:]
    for place, word in enumerate(words):
        if not hasattr(value, word):
            try:
                importlib.import_module(".".join(["certvq", *words[: place + 1]]))
            except ModuleNotFoundError:
                return False
        value = getattr(value, word)
    return True


def test_a_name_that_is_not_there_is_found_missing():
    assert is_importable("certvq.bounds.norm_upper")
    assert is_importable("certvq.train")
    assert not is_importable("certvq.bounds.no_such_bound")
    assert not is_importable("certvq.no_such_module.name")
    assert is_file("certvq/bounds.py")
    assert is_file("_scalar/thresholds.py")
    assert not is_file("certvq/bound.py")


EXAMPLES = sorted((ROOT / "examples").glob("[!_]*.py"))
EXAMPLES.remove(ROOT / "examples" / "tokenize_with_torchrun.py")  # tested by its own file


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_run(path, tmp_path):
    """An example runs from anywhere, and gives certvq no wrong code."""
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    CHECKS[path.name](done.stdout)


def check_wrong_codes(text):
    rows = {line[:26].strip(): line[26:].split() for line in text.splitlines()}
    assert rows["certvq.assign"] == ["0.0%"] * 4
    assert float(rows["expansion, float32"][3].rstrip("%")) > 10


def check_audit_a_model(text):
    """Every other table is of the patched model; the last two are those of a mean of 1000."""
    wrong = [
        [float(line.split()[4].rstrip("%")) for line in table.splitlines() if ".layers." in line]
        for table in re.split(r"^mean .*$", text, flags=re.MULTILINE)[1:]
    ]
    assert [len(each) for each in wrong] == [2] * 6
    assert wrong[1::2] == [[0.0, 0.0]] * 3
    assert wrong[4][0] > 10


def check_train_a_quantizer(text):
    """Five seconds of training are enough to tell photographs from grey."""
    assert float(re.search(r"held-out PSNR ([\d.]+) dB", text)[1]) > 12


def check_predict_masked_patches(text):
    """How much is learned in ten seconds is the machine's; what is asked for is not."""
    found = re.search(r"([\d.]+)% of (\d+) hidden patches .*, ([\d.]+)% by the most", text)
    named, patches, most_frequent = (float(each) for each in found.groups())
    assert patches > 10_000
    assert 10 < most_frequent < 30
    assert 10 < named < 100


def check_search_the_bits(text):
    """The search starts from the encoder's bits, so that it cannot end below them."""
    encoded, found = (float(each) for each in re.findall(r"(-?[\d.]+) dB", text))
    assert found > encoded > 5


def check_which_tokens_can_flip(text):
    """In bfloat16 some tokens flip, and fewer than could; of residual levels some come after it."""
    tables = re.findall(r"^([\w-]+, \w+)\n(.*?)\n\n", text, flags=re.MULTILINE | re.DOTALL)
    rows = {
        name: [[int(word) for word in line.split()[-3:]] for line in table.splitlines()[2:-1]]
        for name, table in tables
    }
    assert [len(each) for each in rows.values()] == [1, 1, 1, 4, 4, 4]
    for name, table in rows.items():
        for could_flip, flipped, _ in table:
            assert flipped <= could_flip
            assert "bfloat16" not in name or could_flip > 0
    assert sum(flipped for _, flipped, _ in rows["residual, bfloat16"]) > 0
    assert rows["residual, bfloat16"][-1][-1] > 0


def check_tokens_without_certvq(text):
    """Each library that is installed counts the same codes."""
    found = [line.partition(": ")[2] for line in text.splitlines()]
    counts = {f"{part}/{row}": 10 * (row + 1) for part in ("first", "second") for row in range(3)}
    assert len(found) == 4
    assert set(found) <= {str(counts), "not installed"}


CHECKS = {
    "wrong_codes.py": check_wrong_codes,
    "audit_a_model.py": check_audit_a_model,
    "predict_masked_patches.py": check_predict_masked_patches,
    "search_the_bits.py": check_search_the_bits,
    "tokens_without_certvq.py": check_tokens_without_certvq,
    "train_a_quantizer.py": check_train_a_quantizer,
    "which_tokens_can_flip.py": check_which_tokens_can_flip,
}
