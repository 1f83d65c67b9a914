"""Which commits of the code, and which hardware, a run was trained with."""

import json
import pathlib
import shutil
import subprocess

import pytest
from etils import epath

from ltjax.training.workdir import provenance as module
from ltjax.training.workdir.provenance import code_commit, note_provenance, provenance

GIT = shutil.which("git")


@pytest.fixture
def checkout(tmp_path):
    """A repository with a package in it; returns the package's folder."""
    if GIT is None:
        pytest.skip("there is no git")
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "code.py").write_text("a = 1\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    code_commit.cache_clear()
    yield package
    code_commit.cache_clear()


def git(root, *words):
    of_someone = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    made = subprocess.run([GIT, "-C", root, *of_someone, *words], capture_output=True, text=True, check=True)
    return made.stdout.strip()


def test_it_is_that_of_the_checkout_and_says_whether_its_files_were_changed(checkout, monkeypatch):
    head = git(checkout.parent, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/of/another/repository")  # as within its hooks
    assert code_commit(checkout) == head and len(head) == 40
    code_commit.cache_clear()
    (checkout / "new.py").write_text("")  # no part of the code yet
    assert code_commit(checkout) == head
    code_commit.cache_clear()
    (checkout / "code.py").write_text("a = 2\n")
    assert code_commit(checkout) == f"{head}-dirty"


def test_a_tag_does_not_take_its_place(checkout):
    git(checkout.parent, "tag", "-a", "v1", "-m", "v1")
    assert code_commit(checkout) == git(checkout.parent, "rev-parse", "HEAD")


def test_a_package_within_another_repository_has_none_of_its(checkout):
    installed = checkout.parent / "venv" / "site-packages" / "ltjax"
    installed.mkdir(parents=True)
    assert code_commit(installed) is None


def test_without_git_or_with_a_broken_repository_it_is_unknown(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert code_commit(checkout) is None
    monkeypatch.undo()
    code_commit.cache_clear()
    shutil.rmtree(checkout.parent / ".git")
    (checkout.parent / ".git").write_text("gitdir: /nowhere\n")
    assert code_commit(checkout) is None


def test_what_pip_installed_from_a_repository_has_its_commit(tmp_path, monkeypatch):
    class Installed:
        def read_text(self, name):
            assert name == "direct_url.json"
            return self.content

    installed = Installed()
    monkeypatch.setattr(module.importlib.metadata, "distribution", lambda name: installed)
    origin = {"url": "https://host/ltjax", "vcs_info": {"vcs": "git", "commit_id": "0123abc"}}
    for content, expected in (
        (json.dumps(origin), "0123abc"),
        ('{"url": "file:///x"}', None),
        (None, None),
        ("{", None),
    ):
        installed.content = content
        code_commit.cache_clear()
        assert code_commit(tmp_path / "site-packages" / "ltjax") == expected
    code_commit.cache_clear()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a run of this commit on this hardware; returns what it says of its provenance."""

    def of(commit, hardware="cpu", begun=True, report=print):
        monkeypatch.setattr(module, "code_commit", lambda: commit)
        monkeypatch.setattr(module, "hardware", lambda: hardware)
        note_provenance(epath.Path(tmp_path), begun, report)
        return tuple(provenance(epath.Path(tmp_path)).values())

    return of


def test_a_run_notes_each_change_of_its_code_and_of_its_hardware(start):
    assert start("a", begun=False) == (["a"], "cpu")
    assert start("a") == (["a"], "cpu")
    assert start("b") == (["a", "b"], "cpu")
    assert start("a", "gpu") == (["a", "b", "a"], "cpu; gpu")
    assert start("a", "cpu") == (["a", "b", "a"], "cpu; gpu")
    assert start("c", begun=False) == (["c"], "cpu")  # what ended before its first checkpoint trained nothing


def test_what_checkpoints_from_before_the_note_were_trained_with_is_unknown(start):
    assert start(None) == ([None], "unknown; cpu")
    assert start("a") == ([None, "a"], "unknown; cpu")


def test_of_a_damaged_note_what_can_be_read_goes_on(start, tmp_path):
    lines = []
    (tmp_path / "provenance.json").write_text('[{"commit": "a", "hardware": "gpu"}, {"commi')
    assert start("b", report=lines.append) == (["a", "b"], "gpu; cpu")
    assert len(lines) == 1 and "provenance.json: is damaged" in lines[0]


def test_a_run_whose_note_was_taken_away_says_what_it_has_now(start, tmp_path):
    start("a", begun=False)
    (tmp_path / "provenance.json").unlink()
    assert provenance(epath.Path(tmp_path)) == {"commits": ["a"], "hardware": "cpu"}


def test_the_package_under_test_knows_its_own_where_it_is_a_checkout():
    root = pathlib.Path(module.version.__file__).parent.parent
    if not (root / ".git").exists() or GIT is None:
        pytest.skip("the package is no checkout")
    code_commit.cache_clear()
    assert (code_commit() or "").removesuffix("-dirty") == git(root, "rev-parse", "HEAD")
