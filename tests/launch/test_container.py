"""The container and the workflow name what there is: extras, files, Pythons."""

import re
import tomllib

import pytest

from tests.shared import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "launch" / "Dockerfile").read_text()


def test_the_image_has_extras_and_files_of_the_project():
    for extras in re.findall(r"EXTRAS=([\w,]+)", DOCKERFILE):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    copied = [word for line in re.findall(r"(?m)^COPY (.*) \S+$", DOCKERFILE) for word in line.split()]
    assert {"pyproject.toml", "ltjax", "configs", PROJECT["readme"], *PROJECT["license-files"]} == set(copied)
    assert all((ROOT / one).exists() for one in copied)
    allowed = (ROOT / "launch" / "Dockerfile.dockerignore").read_text().split()
    assert {one.removeprefix("!") for one in allowed if one.startswith("!")} == set(copied)


def test_every_extra_has_a_version():
    wanted = [one for extra in PROJECT["optional-dependencies"].values() for one in extra if "ltjax[" not in one]
    assert not [
        one for one in (*wanted, *PROJECT["dependencies"]) if not re.match(r"[\w.-]+(\[\w+(-\w+)*\])?>=\d", one)
    ]


def test_the_workflow_runs_the_oldest_python_that_is_supported():
    path = ROOT / ".github" / "workflows" / "ci.yml"
    if not path.exists():
        pytest.skip("a source distribution has no workflow")
    text = path.read_text()
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert (
        re.search(r'python: \["([\d.]+)", "[\d.]+"\]', text)[1] == lowest
        and ".ci/run python${{ matrix.python }}" in text
    )
