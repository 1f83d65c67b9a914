"""The worked examples: each page, done as it says in a copy of the project, ends with commands that succeed."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.shared import ROOT

PAGES = sorted((ROOT / "docs" / "extending").glob("*.md"))
BLOCK = re.compile(r'^```(python|diff|bash)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COPIED = ("ltjax", "configs", "tests", "docs", "pyproject.toml", "mkdocs.yml", "README.md", "CONTRIBUTING.md", "launch")


def changed(text: str, diff: str) -> str:
    """The text with a block of ``diff`` applied: its lines without a sign are found, those with + are added."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"these lines stand {text.count(before)} times in the file:\n{before}"
    return text.replace(before, after)


def follow(page: pathlib.Path, folder: pathlib.Path) -> None:
    """Does what the page says, block by block."""
    environment = os.environ | {"PYTHONPATH": str(folder), "LTJAX_SHARED": str(folder / "nothing")}
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), environment["PATH"]])
    for language, title, body in BLOCK.findall(page.read_text()):
        if language == "bash":
            for command in body.replace("\\\n", " ").splitlines():
                done = subprocess.run(
                    ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
                )
                assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        elif language == "diff":
            (folder / title).write_text(changed((folder / title).read_text(), body))
        elif title:
            assert not (folder / title).exists(), f"{title} is there already"
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(body)


LONG = {"backbone", "dataset", "method"}
MARKED = [pytest.param(page, marks=pytest.mark.slow) if page.stem in LONG else page for page in PAGES]


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.stem)
def test_a_worked_example_needs_only_what_its_page_names(page, tmp_path):
    for name in COPIED:
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        if path.exists():
            copy(path, tmp_path / name)
    follow(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_diffs_of_a_page_fit_the_files_of_the_project(page):
    texts: dict[str, str] = {}
    for language, title, body in BLOCK.findall(page.read_text()):
        if language == "diff" and (
            title in texts or (ROOT / title).exists()
        ):  # others are of files that the page makes
            texts[title] = changed(texts.get(title) or (ROOT / title).read_text(), body)


def test_a_diff_must_fit_exactly_once():
    assert changed("a\nb\nc\n", " a\n+x\n b\n") == "a\nx\nb\nc\n"
    assert changed("a\nb\nc\n", "-b\n+x\n") == "a\nx\nc\n"
    for text in ("a\nc\n", "b\nb\n"):
        with pytest.raises(AssertionError, match="times in the file"):
            changed(text, " b\n+x\n")
