"""The folders under results/: their tables are those of their files, and the page of results has their numbers."""

import pathlib
import re

import pytest

from ltjax.commands import table

ROOT = pathlib.Path(__file__).parent.parent
HELD_OUT = "--config.data.validation_fraction=0.2"
# folder -> the flags that it was published with
PUBLISHED = {
    "cifar": ["--table=cifar", "--separate-seeds", "--num-seeds=1"],
    "mnist5k_best": ["--table=ablation:mnist5k_best"],
    "mnist5k_best_candidates": ["--table=candidates:mnist5k_best", HELD_OUT],
    "cifar100_best_held_out_30": [
        "--table=ablation:cifar100_best",
        "--epochs=30",
        "--separate-seeds",
        "--num-seeds=3",
        HELD_OUT,
    ],
    "cifar10_best_held_out": [
        "--table=ablation:cifar10_best",
        "--epochs=10",
        "--separate-seeds",
        "--num-seeds=3",
        HELD_OUT,
    ],
    "cifar100_best_held_out": ["--table=ablation:cifar100_best", "--epochs=10", HELD_OUT],
}
MEASURED = re.compile(r"\| [^|]* \| \d")  # a row of the table that has numbers
pytestmark = pytest.mark.skipif(not (ROOT / "results").exists(), reason="the tests lie outside of the repository")


def test_every_folder_is_known():
    assert sorted(path.name for path in (ROOT / "results").iterdir()) == sorted(PUBLISHED)


@pytest.mark.parametrize("folder", PUBLISHED)
def test_the_table_is_that_of_the_files_and_its_numbers_are_on_the_page(folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    place = ROOT / "results" / folder
    options, settings = table.parse_options(["--root=none", f"--publish={place}", *PUBLISHED[folder]])
    text = table.format_markdown(options, settings)
    (written,) = place.glob("*.md")
    assert text == written.read_text()
    page = (ROOT / "docs" / "results.md").read_text()
    first, *_ = text.split("## Runs")
    rows = [line.split(" | ")[1:5] for line in first.splitlines() if MEASURED.match(line)]
    assert len(rows) >= len(list(place.glob("*/results.json"))) > 0
    for numbers in rows:
        assert " | ".join(numbers) in page, numbers
