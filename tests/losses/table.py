"""The table of losses in ltjax/losses/README.md, from the docstrings: `python -m tests.losses.table` rewrites it."""

import inspect
import pathlib
import re

from ltjax import losses
from tests.losses.catalogue import public_losses

README = pathlib.Path(losses.__file__).with_name("README.md")
BEGIN, END = "<!-- from the docstrings: python -m tests.losses.table -->", "<!-- end of the table -->"
HEAD = "| function | what it is | gives | soft labels | elsewhere | reference |\n|---|---|---|---|---|---|"


def paragraph(text: str, name: str) -> str:
    """The rest of the paragraph of a docstring that begins with ``name:``, in one line; nothing where there is none."""
    found = re.search(rf"^{name}: (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def row(name: str) -> str:
    text = inspect.getdoc(getattr(losses, name)) or ""
    summary = text.partition("\n")[0].rstrip(".:")
    returns = text.partition("Returns:\n")[2].partition("\n\n")[0]
    batch = re.search(r"\b(A scalar|scalars)\b", returns)
    labels = "labels" in inspect.signature(getattr(losses, name)).parameters
    soft = "yes" if re.search(r"probabilities ``\[|For soft labels", text) else "no" if labels else ""
    cells = [f"`{name}`", summary, "a scalar" if batch else "one per example", soft]
    cells += [paragraph(text, "Elsewhere").rstrip("."), paragraph(text, "Reference").rstrip(".")]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("``", "`") for cell in cells) + " |"


def table() -> str:
    return "\n".join([BEGIN, HEAD, *map(row, sorted(public_losses())), END])


def replaced(page: str) -> str:
    """The page with the table of today in it."""
    before, _, rest = page.partition(BEGIN)
    return before + table() + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(replaced(README.read_text()))
