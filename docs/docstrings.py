"""Griffe extension: the docstrings' ``Example:`` and ``::`` in the form that Markdown shows as code."""

from typing import Any

import griffe


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n").replace("::\n", ":\n")
