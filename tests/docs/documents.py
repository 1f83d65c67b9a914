"""The documents, and the examples in them."""

import importlib.util
import pathlib
import re

from tests.shared import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "launch" / "README.md"]
DOCUMENTS += [ROOT / "ltjax" / "losses" / "README.md"]
# The worked examples make files as they go: test_extending.py runs them whole.
DOCUMENTS += sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "extending")
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIG = re.compile(r"configs/[a-z0-9]+_[a-z]+\.py(?::(?:(?!,configs/)[A-Za-z0-9_=.,])*[A-Za-z0-9])?")
PATH = re.compile(r"`((?:ltjax|configs|notebooks|tests|docs)(?:/\w+)+(?:\.\w+)?)`")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(?:#[^)]*)?\)")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [body for found, body in FENCE.findall(text(name)) if found == language]


def commands(name: str) -> list[str]:
    """Shell commands of bash blocks and of indented lines, without comments: ``a && b`` is two, ``a \\`` goes on."""
    lines = [line for block in blocks(name, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += [line.strip() for line in FENCE.sub("", text(name)).splitlines() if line.startswith("    ")]
    parts = [part.strip() for line in lines for part in re.sub(r"\s+#.*", "", line).split("&&")]
    return [part for part in parts if part.startswith(("python -m ltjax", "ltjax "))]


def links(name: str) -> list[pathlib.Path]:
    """Where the relative links of a document go."""
    return [(ROOT / name).parent / target for target in LINK.findall(FENCE.sub("", text(name)))]


def _load(path: pathlib.Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = _load(ROOT / "docs" / "hooks.py")  # what the site's pages go through
