"""The papers' tables: every config resolves, equal runs have equal names, and the numbers are the papers'."""

import argparse
import functools
import json

import pytest

from ltjax.commands import table
from ltjax.commands.paper_tables import PAPERS, TABLES
from ltjax.commands.paper_tables.structure import DATASETS, PaperTable, Result, Row
from ltjax.methods import configure
from ltjax.settings.identity import identity

NAMES = [name for name, contents in TABLES.items() if isinstance(contents, PaperTable)]
OPTIONS = argparse.Namespace(root="root", num_seeds=1, data_dir={}, weights={})
# Table -> the paper's rightmost column, from top to bottom ("All", "Overall"; the last data set's, where there are two)
LAST = {
    "reslt:1": "78.50 60.22 60.24 61.80 83.46",
    "decoupling:1": "46.3 48.8 48.9 49.5",
    "asynchronous:3": "43.85 44.32 44.99 45.32 46.62 47.02 47.61 49.32",
    "auxiliary:3": "19.3 22.4 24.6 27.8",
    "auxiliary:4": "19.3 27.8 27.1 25.6 22.4",
    "auxiliary:5": "27.8 27.2 28.9",
}


def results(contents):
    return [result for row in contents.rows for result in row.results]


@functools.cache
def settings(config, starts_from, weights):
    cell = table.Cell("name", config, starts_from, weights=weights)
    options = argparse.Namespace(**vars(OPTIONS) | {"weights": {weights: f"{weights}.npz"}})
    return configure.from_command_line(table.arguments(cell, options, []))[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_what_its_table_asks_for(name):
    contents = TABLES[name]
    labels = [row.labels for row in contents.rows]
    assert labels and len(set(labels)) == len(labels)
    for row in contents.rows:
        assert len(row.labels) == len(contents.header) and len(row.results) == len(contents.columns), row
    for result in results(contents):
        assert len(result.published.split()) in (0, len(contents.metrics)), result
        assert not (result.config and result.reason) and (result.config or not (result.view or result.starts_from))
        assert not result.config or result.config.partition("_")[0] in DATASETS


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_are_the_papers(name):
    printed = [row.results[-1].published.split()[-1:] or ["-"] for row in TABLES[name].rows]
    assert " ".join(word for words in printed for word in words) == LAST[name]


def test_every_config_resolves_and_equal_runs_share_a_workdir():
    """Two names for one run would train it twice; one name for two runs would refuse the second."""
    by_identity, by_name = {}, {}
    for name in NAMES:
        for cell in TABLES[name].cells():
            same = by_name.setdefault(cell.name, cell)
            assert (same.config, same.starts_from, same.weights) == (cell.config, cell.starts_from, cell.weights)
    for cell in by_name.values():
        assert cell.starts_from in {"", *by_name}
        run = identity(settings(cell.config, cell.starts_from, cell.weights))
        key = json.dumps({**run, "family": "", "recipe": ""}, sort_keys=True)
        assert by_identity.setdefault(key, cell.name) == cell.name


def test_every_config_resolves_on_a_data_set_that_needs_no_download():
    cells = {cell.name: cell for name in NAMES for cell in TABLES[name].cells(data="mnist5k")}
    for cell in cells.values():
        assert settings(cell.config, cell.starts_from, "").data.name == "mnist5k"
        assert not cell.weights


def test_a_tenth_of_the_epochs():
    large = PaperTable("", (), (Row((), (Result("", "imagenet_reslt:backbone=resnet10"),)),))
    small = PaperTable("", (), (Row((), (Result("", "cifar100_reslt:imbalance=50"),)),))
    assert large.cells(short=True)[0].config == "imagenet_reslt:backbone=resnet10,epochs=18"
    assert small.cells(short=True)[0].config == "cifar100_reslt:imbalance=50,short"


def test_every_table_of_the_papers_is_here():
    for paper, count in {"reslt": 1, "decoupling": 1, "asynchronous": 1, "auxiliary": 3}.items():
        assert len(PAPERS[paper]) >= count
