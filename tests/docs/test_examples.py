"""Examples in the documents: Python blocks run, commands parse, configs resolve, links lead somewhere."""

import argparse
import importlib
import itertools
import re
import shlex
import shutil
import tomllib

import pytest

from ltjax.__main__ import COMMANDS
from ltjax.commands.paper_tables.benchmarks import TABLE_METHODS
from ltjax.methods import METHODS, configure
from ltjax.training import loop, prepare
from tests.data.conftest import write_image
from tests.docs import documents
from tests.docs.documents import hooks
from tests.shared import ROOT
from tests.training import toy


class Parsed(BaseException):
    """Raised in the place of what a command does after its arguments are parsed; carries what is left of them."""


@pytest.fixture
def only_parses(monkeypatch):
    known = argparse.ArgumentParser.parse_known_args

    def parse_args(self, args=None, namespace=None):
        _, rest = known(self, args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        raise Parsed([])

    def parse_known_args(self, args=None, namespace=None):
        raise Parsed(known(self, args, namespace)[1])

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A folder with the finished run and the photo that documents name: runs/mine, photo.jpg."""
    root = tmp_path_factory.mktemp("documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        loop.train(toy.config("ce", epochs=1, model__backbone="resnet8"), str(root / "runs" / "mine"))
    write_image(root / "photo.jpg", 100)
    return root


def check(command):
    """Raises unless the module is there and knows every flag, and the config every setting."""
    words = shlex.split(command)
    if words[0] == "ltjax":
        module, arguments = COMMANDS[words[1]].module, words[2:]
    else:
        module, arguments = words[2], words[3:]
    if module in ("ltjax.main", "ltjax.commands.train"):
        read = configure.help_config if "--help-config" in arguments else configure.from_command_line
        read(arguments)
        return
    if module in ("ltjax.bench", "ltjax.bench.__main__"):
        benchmark, *arguments = arguments
        module = f"ltjax.bench.{benchmark}"
    found = importlib.import_module(module)
    if hasattr(found, "main"):
        main = found.main
    else:
        inside = importlib.import_module(f"{module}.__main__")
        main = getattr(inside, "run", None) or inside.main
    try:
        status = main(arguments)
    except Parsed as parsed:
        (rest,) = parsed.args
    else:
        raise AssertionError(f"it ended with status {status} before it had parsed its arguments")
    assert all(word.startswith("--config") for word in rest), rest
    if any(word.startswith("--config=") for word in rest):
        configure.from_command_line([*rest, "--workdir=none"])


@pytest.mark.parametrize("name", [name for name in documents.NAMES if documents.blocks(name, "python")])
def test_the_python_blocks_of_a_document_run_one_after_the_other(name, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if any("runs/mine" in block for block in documents.blocks(name, "python")):
        shutil.copytree(request.getfixturevalue("finished_run"), tmp_path, dirs_exist_ok=True)
    scope = {"__name__": "document"}
    for block in documents.blocks(name, "python"):
        exec(compile(block, name, "exec"), scope)


@pytest.mark.parametrize("name", [name for name in documents.NAMES if documents.commands(name)])
def test_the_commands_of_a_document_name_modules_flags_and_settings_that_exist(name, only_parses):
    for command in documents.commands(name):
        try:
            check(command)
        except Exception as error:
            pytest.fail(f"{name}: {command}: {error}")


def unfinished(block: str) -> list[str]:
    """Lines of a shell block that begin with a flag, after a line that does not end in a backslash."""
    lines = block.splitlines()
    return [line for before, line in itertools.pairwise(lines) if line.strip().startswith("--") and before[-1:] != "\\"]


@pytest.mark.parametrize("name", [name for name in documents.NAMES if documents.blocks(name, "bash")])
def test_a_command_over_several_lines_can_be_pasted(name):
    assert not [line for block in documents.blocks(name, "bash") for line in unfinished(block)]


def test_a_line_without_its_backslash_is_found():
    assert unfinished("a --b \\\n  --c\n  --d") == ["  --d"]


@pytest.mark.parametrize(
    "command", ["python -m ltjax.evaluate --runs=w", "python -m ltjax.main --config=configs/no.py"]
)
def test_a_command_with_a_wrong_flag_or_config_does_not_pass(command, only_parses):
    with pytest.raises(Exception, match=r"no file|status 2"):
        check(command)


@pytest.mark.parametrize("name", [name for name in documents.NAMES if documents.CONFIG.search(documents.text(name))])
def test_the_configs_that_a_document_mentions_resolve(name):
    for config in sorted(set(documents.CONFIG.findall(documents.text(name)))):
        configure.from_command_line([f"--config={config}", "--workdir=w"])


@pytest.mark.parametrize("name", [name for name in documents.NAMES if documents.links(name)])
def test_the_links_of_a_document_lead_to_files(name):
    missing = [str(path) for path in documents.links(name) if not path.exists()]
    assert not missing, missing


@pytest.mark.parametrize("name", [name for name in documents.NAMES if documents.PATH.search(documents.text(name))])
def test_the_paths_that_a_document_mentions_exist(name):
    missing = [path for path in documents.PATH.findall(documents.text(name)) if not (ROOT / path).exists()]
    assert not missing, missing


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 8400


def test_the_readme_counts_the_methods():
    assert f"[{len(METHODS)} methods and their second stages](docs/methods/index.md)" in documents.text("README.md")


def test_every_method_has_a_page_that_the_site_lists():
    site = documents.text("mkdocs.yml")
    for method in METHODS:
        assert (ROOT / "docs" / "methods" / f"{method}.md").is_file(), method
        assert f"methods/{method}.md" in site, method


@pytest.mark.parametrize("name", [name for name in documents.NAMES if "docs/methods/" in name])
def test_the_markers_of_a_page_are_filled_in(name):
    assert "<!-- " not in hooks.on_page_markdown(documents.text(name))


# extras that go beside the others, or are for the people who change ltjax
BESIDE = {"gpu", "tpu", "gpu-compiler", "gcs", "test", "dev", "docs"}


@pytest.mark.parametrize("name", documents.NAMES)
def test_an_extra_that_a_document_names_brings_what_the_commands_need(name):
    extras = tomllib.loads(documents.text("pyproject.toml"))["project"]["optional-dependencies"]
    for words in re.findall(r"(?:ltjax|pip install[^\n]* [\"']?\.)\[([\w,-]+)\]", documents.text(name)):
        assert set(words.split(",")) <= extras.keys(), words
        if not set(words.split(",")) <= BESIDE | {"train"}:
            assert any("ltjax[train]" in extras[word] for word in words.split(",")), words


def test_every_row_of_the_tables_has_its_measured_numbers_in_the_results():
    results = documents.text("docs/results.md")
    for row in TABLE_METHODS.values():
        family, _, word = row.config.partition(":")
        assert f"| `mnist5k_{family}.py{':' + word if word else ''}` |" in results, row.config
