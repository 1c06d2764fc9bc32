"""Pages of the API for MkDocs: one for each module, made while the site is built.

In: the public names that docs/make_reference.py lists. Out: pages that mkdocstrings fills with
their docstrings.
"""

import importlib
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each module."""
    reference = load_reference_writer()
    for module in reference.MODULES:
        text = api_page(reference, module)
        files.append(File.generated(config, f"api/{module}.md", content=text))
    return files


def load_reference_writer() -> ModuleType:
    """Import docs/make_reference.py, which lies in no package."""
    path = Path(__file__).with_name("make_reference.py")
    spec = importlib.util.spec_from_file_location("make_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def api_page(reference: ModuleType, module: str) -> str:
    """Return a page that names every class and function of a module."""
    head = reference.first_sentence(importlib.import_module(module))
    names = [
        f"::: {module}.{name}\n"
        for name, value in reference.public_names(module).items()
        if inspect.isclass(value) or inspect.isroutine(value)
    ]
    return "\n".join([f"# {module}", "", head, "", *names])
