"""Griffe extension: the docstrings' examples and ``::`` in the form that Markdown shows as code."""

import re
import textwrap
from typing import Any

import griffe

DOCTEST = re.compile(r"(?:^ {2}\S.*\n?)+", re.MULTILINE)  # a paragraph that is indented by two spaces


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = obj.docstring.value
            if obj.is_module:
                text = DOCTEST.sub(fenced, text)
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n").replace("::\n", ":\n")


def fenced(paragraph: re.Match[str]) -> str:
    """A doctest of a module's text as a block of code; other paragraphs as they are."""
    body = textwrap.dedent(paragraph[0])
    return f"```pycon\n{body.rstrip()}\n```\n" if body.startswith(">>>") else paragraph[0]
