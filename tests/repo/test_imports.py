"""Data flows one way: each package imports only from those before it, read off the source."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "certvq"

LAYERS = [
    {"errors", "_types", "_float64", "_version"},
    {"_files"},
    {"_lean"},
    {"spec"},
    {"_checker"},
    {"bounds", "check"},
    {"_native", "_triton"},
    {"assign"},
    {"cluster"},
    {"scale"},
    {"testing", "_info", "torchlean"},
    {"theory"},
    {"nn"},
    {"compat"},
    {"models", "inspect"},
    {"network"},
    {"data", "export"},
    {"tokens"},
    {"runs"},
    {"train"},
    {"tokenize"},
    {"report"},
    {"jobs"},
    {"bench"},
    {"cli"},
    {"__init__", "__main__"},
]
SPECIAL = {
    "spec": {"errors"},
    "_checker": set(),
    "check": {"errors", "spec", "_checker"},
    "bounds": set(),
    "_files": {"errors"},
    "_types": set(),
    "_float64": set(),
    "errors": set(),
    "_native": {"_types", "errors"},
    "_triton": {"bounds", "errors", "_types"},
    "_lean": {"errors", "_files"},
    "torchlean": {"errors", "_types", "assign"},
    "data": {"errors", "_files", "_types"},
    "inspect": {"errors", "_types", "bounds", "spec", "assign", "nn"},
    "network": {"errors", "_types", "bounds", "_native", "assign", "models"},
    "theory": {"errors", "_types", "_files", "_lean", "spec", "bounds", "assign"},
}
"""What the design allows some of them, where that is less than all layers before."""


FLOORS_OF_NN = [
    {"_torch"},
    {"_core"},
    {"_codebook", "_estimators", "_regularizers"},
    {"_vector", "_scalar"},
    {"_levels"},
    {"__init__"},
]
"""Quantizers by kind: torch's plumbing below the contract, parts below what is made of them."""


def level(package):
    return next(i for i, layer in enumerate(LAYERS) if package in layer)


@functools.cache
def imported_packages(path):
    """Name the parts of certvq that a file imports."""
    return list(_imported_packages(path))


def _imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            plain = node.module == "certvq"
            names = [f"certvq.{a.name}" for a in node.names] if plain else [node.module]
        else:
            continue
        for name in names:
            if name.startswith("certvq."):
                yield name.split(".")[1]


def files():
    return sorted(SOURCE.rglob("*.py"))


def package_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.rows("path", files())
def test_imports_point_backwards(path):
    package = package_of(path)
    for imported in imported_packages(path):
        assert level(imported) <= level(package), f"{path} imports {imported}"
        if imported != package and package in SPECIAL:
            assert imported in SPECIAL[package], f"{path} imports {imported}"


def test_floors_of_nn_import_downwards():
    def floor(name):
        return next(i for i, floor in enumerate(FLOORS_OF_NN) if name in floor)

    for path in sorted((SOURCE / "nn").rglob("*.py")):
        own = path.relative_to(SOURCE / "nn").parts[0].removesuffix(".py")
        names = re.findall(r"from certvq\.nn\.(\w+)", path.read_text())
        assert not {n for n in names if floor(n) > floor(own)}, path


def test_theory_is_a_leaf():
    """The library never needs its proofs: only the command line shows them."""
    users = {package_of(p) for p in files() if "theory" in set(imported_packages(p))}
    assert users <= {"theory", "cli"}


def test_only_the_command_line_measures():
    users = {package_of(p) for p in files() if "bench" in set(imported_packages(p))}
    assert users <= {"bench", "cli"}


def test_the_order_is_strict():
    """Two packages of one layer do not import each other both ways."""
    pairs = {(package_of(p), i) for p in files() for i in imported_packages(p)}
    assert not [(a, b) for a, b in pairs if a != b and (b, a) in pairs]


def test_specification_needs_the_standard_library_only():
    for path in (SOURCE / "spec").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.names[0].name if isinstance(node, ast.Import) else node.module
                top = module.split(".")[0]
                assert top == "certvq" or top in sys.stdlib_module_names, f"{path}: {module}"


def test_import_loads_neither_torch_nor_a_solver():
    code = "import sys, certvq; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "torch",
        "triton",
        "jax",
        "z3",
        "cvc5",
        "sklearn",
        "scipy",
        "pyarrow",
        "typer",
        "PIL",
        "lightning_fabric",
    }
    assert not heavy & set(done.stdout.split())


def test_the_command_line_starts_without_torch():
    code = "import sys, certvq.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "sklearn", "pyarrow", "plotly"} & set(done.stdout.split())
