"""An extension of griffe: `Example:` in a docstring is a section of code, as `Examples:` is.

In: docstrings as griffe reads them from the source. Out: the same with a heading that it knows;
otherwise it takes the code for prose, and its brackets for links.
"""

from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rename the heading."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
