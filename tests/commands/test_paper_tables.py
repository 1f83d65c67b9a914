"""The papers' tables: every config resolves, equal runs have equal names, and the numbers are the papers'."""

import argparse
import functools
import json
import pathlib

import jax
import pytest

from ltjax.commands import table
from ltjax.commands.paper_tables import PAPERS, TABLES, needs
from ltjax.commands.paper_tables.structure import DATASETS, PaperTable, Result, Row
from ltjax.commands.train import run as train
from ltjax.methods import configure
from ltjax.settings.identity import identity
from tests import recipes

NAMES = [name for name, contents in TABLES.items() if isinstance(contents, PaperTable)]
TINY = [
    "--config.epochs=1", "--config.batch_size=392", "--config.data.on_device=no",
    "--config.model.backbone=tests/methods/asynchronous/toy.py:Backbone",
]  # fmt: skip
OPTIONS = argparse.Namespace(root="root", num_seeds=1, data_dir={}, weights={})
# Table -> the paper's rightmost column, from top to bottom ("All", "Overall"; the last data set's, where there are two)
LAST = {
    "reslt:1": "78.50 60.22 60.24 61.80 83.46",
    "reslt:2": "61.1 64.6 69.6 69.3 64.0 68.0 67.6 69.5 71.4 70.2 70.5 72.3",
    "reslt:3": "47.6 46.3 35.2 34.6 35.1 51.5 51.9 50.7 51.5 52.9 56.1",
    "reslt:4": "30.2 35.2 34.6 35.1 37.9 35.9 36.2 36.7 37.6 - 39.8 41.0",
    "reslt:5": "58.02 55.78 56.91 59.12 57.99 59.60 58.12 58.11 58.71 58.90 - 60.79 62.01 63.73",
    "reslt:6": "37.3 36.4 43.2 42.7 43.0 43.8 47.0 50.6 51.5 51.5 53.0 49.6 53.3 53.9 54.0 55.1",
    "reslt:7": "53.9 55.1 54.5 56.0 56.4 57.6 69.0 70.8 70.1 71.7 72.1 72.9",
    "reslt:8": "65.8 68.2 69.3 69.5 70.2",
    "reslt:9": "80.44 45.14",
    "reslt:figure3": "- - - - - -",
    "reslt:figure4": "- - - - - -",
    "reslt:figure5": "- - - - - - - - -",
    "reslt:figure6_cifar": "- - - -",
    "reslt:figure6_imagenet": "- - - -",
    "reslt:figure7": "- - -",
    "decoupling:1": "46.3 48.8 48.9 49.5",
    "decoupling:2": "- - - - - 24.8 50.3 47.8 51.3 52.4 52.8 53.3",
    "decoupling:3": "- - - 69.0 67.3 71.2 72.5 72.1",
    "decoupling:4": "35.2 34.6 35.1 34.9 35.9 30.2 36.4 36.7 37.9 37.6",
    "decoupling:5": "44.4 45.1 46.8 47.2",
    "decoupling:6": "- - - - -",
    "decoupling:7": "44.4 47.3 49.6 49.4 49.9 44.8 47.8 49.4 49.6 50.1 47.8 51.3 52.4 52.8 53.3",
    "decoupling:8": "65.8 63.1 68.2 69.3 69.5 67.3 65.3 69.7 71.0 70.7 69.0 67.3 71.2 72.5 72.1",
    "decoupling:9": "49.4 49.4 49.4 65.6 65.0 65.6 37.9 37.4 36.8",
    "decoupling:10": "- 47.7 47.0",
    "decoupling:11": "68.2 61.2 62.8",
    "decoupling:12": "47.3 49.4 49.4 49.7 49.6",
    "decoupling:figure1": "44.4 - - - 45.1 - - - 46.8 - - - 47.2 - - -",
    "decoupling:figure2": " ".join("-" * 21),
    "decoupling:figure5": "- - - - -",
    "asynchronous:1": "30.2 35.2 34.6 35.1 34.9 35.9 36.4 36.7 37.6 39.7 37.6 39.8 40.4",
    "asynchronous:2": "- - - - - - 43.2 44.9 47.8 50.1 50.5 51.7 53.0 53.8",
    "asynchronous:3": "43.85 44.32 44.99 45.32 46.62 47.02 47.61 49.32",
    "asynchronous:4": "- - - 67.3 69.0 69.1 71.2 72.1 72.5",
    "asynchronous:5": "41.6 44.3 47.3 47.7 49.7 51.0 44.2 47.4 49.8 50.2 51.2 52.1 44.9 47.8 50.1 50.5 51.7 53.0",
    "asynchronous:figure2a": "- - - - -",
    "asynchronous:figure2b": "- - - - -",
    "asynchronous:figure3": "- - - - - - - - - - - - - - -",
    "auxiliary:1": "35.2 34.6 35.1 34.2 34.9 35.9 38.6 31.0 35.7 39.4 39.6",
    "auxiliary:2": "24.3 20.5 22.4 24.6 25.3 19.3 22.4 27.8 28.9",
    "auxiliary:3": "19.3 22.4 24.6 27.8",
    "auxiliary:4": "19.3 27.8 27.1 25.6 22.4",
    "auxiliary:5": "27.8 27.2 28.9",
    "lift:1": "- 78.3",
    "lift:2": "- 52.2",
    "lift:3": "- 80.4",
    "lift:4": "- 84.9 91.3",
    "lift:5": "- - - - -",
    "lift:6": "- - - - - - - - - -",
    "lift:7": "- - - -",
    "lift:16": "- - - - - - -",
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


# Classes with many, medium and few images
GROUPS = {"imagenet": (385, 479, 136), "inat": (842, 4076, 3224), "places": (131, 163, 71)}


def test_decouplings_groups_have_the_mean_that_it_prints_for_all():
    """A number that was typed wrong would show. Two that the paper prints do not fit: OLTR's, and a medium of 27.7."""
    apart = set()
    for result in (one for contents in PAPERS["decoupling"].values() for one in results(contents)):
        *_, many, medium, few, every = [0.0] * 4 + [float(number) for number in result.published.split()]
        if len(result.published.split()) >= 4:
            sizes = GROUPS[result.config.partition("_")[0]]
            mean = sum(n * accuracy for n, accuracy in zip(sizes, (many, medium, few), strict=True)) / sum(sizes)
            if abs(mean - every) > 0.25:
                apart.add(result.published)
    assert apart == {"44.7 37.0 25.3 35.9", "66.9 27.7 7.7 44.9"}


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
    names = [name for name in NAMES if "mnist5k" in TABLES[name].substitutes]
    assert {*NAMES} - {*names} == {f"lift:{number}" for number in PAPERS["lift"]}  # they start from CLIP
    cells = {cell.name: cell for name in names for cell in TABLES[name].cells(data="mnist5k")}
    for cell in cells.values():
        assert settings(cell.config, cell.starts_from, "").data.name == "mnist5k"
        assert not cell.weights


def test_rows_of_clip_on_cifar_keep_its_weights_and_need_no_run_for_an_ensemble():
    cells = {cell.name: cell for cell in TABLES["lift:6"].cells(data="cifar100")}
    zero = settings("cifar100_lift:zero_shot", "", "clip_vit_b16")
    assert zero.method_settings.zero_shot and zero.model.pretrained == "clip_vit_b16.npz"
    assert cells["cifar100_lift_zero_shot_from-clip_vit_b16"].weights == "clip_vit_b16"
    plain, ensembled = (row.results[0] for row in TABLES["lift:1"].rows)
    assert (plain.config, plain.view) == (ensembled.config, "") and ensembled.view == "ensemble"
    assert settings(plain.config, "", plain.weights).method_settings.ensemble == "report"
    assert plain in [row.results[0] for row in TABLES["lift:6"].rows]  # the same run


def test_a_tenth_of_the_epochs():
    large = PaperTable("", (), (Row((), (Result("", "imagenet_reslt:backbone=resnet10"),)),))
    small = PaperTable("", (), (Row((), (Result("", "cifar100_reslt:imbalance=50"),)),))
    assert large.cells(short=True)[0].config == "imagenet_reslt:backbone=resnet10,epochs=18"
    assert small.cells(short=True)[0].config == "cifar100_reslt:imbalance=50,short"


def test_every_table_of_the_papers_is_here():
    for paper, count in {"reslt": 9, "decoupling": 12, "asynchronous": 5, "auxiliary": 5}.items():
        assert {str(number) for number in range(1, count + 1)} <= PAPERS[paper].keys()


def weights_table():
    rows = (Row(("Pretrained",), (Result("39.8", "places_reslt", weights="resnet152"),)),)
    rows += (Row(("FSLwF",), (Result("28.4", reason="no recipe"),)), Row(("Lifted",), (Result(),)))
    return PaperTable("three rows", ("Method",), rows, metrics={"": "all"})


def test_rows_without_a_run_and_cells_without_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "TABLES", {"reslt:4": weights_table()})
    monkeypatch.setattr(table, "train_and_report", lambda argv: pytest.fail("it has no weights"))
    assert table.main([f"--root={tmp_path}", "--table=reslt:4"]) == 2
    captured = capsys.readouterr()
    assert "error: places_reslt_from-resnet152: " in captured.err and "--weights=resnet152=FILE" in captured.err
    assert captured.out == (tmp_path / "reslt_4.md").read_text()
    assert "| Pretrained | 39.8 / - | needs weights: give --weights=resnet152=FILE |" in captured.out
    assert "| FSLwF | 28.4 | not built: no recipe |" in captured.out and "| Lifted | - |  |" in captured.out


def test_the_list_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "TABLES", {"reslt:4": weights_table()})
    monkeypatch.setattr(needs, "forward_flops", lambda network, shape: 10**9)
    arguments = [f"--root={tmp_path}", "--table=reslt:4", "--list", f"--data-dir=places_lt={tmp_path}"]
    assert table.main(arguments) == 0
    data, weights, hours = capsys.readouterr().out.splitlines()[2:]
    assert data.startswith("data: places_lt is missing: ") and str(tmp_path) in data
    assert weights.startswith("weights: resnet152 is missing: give --weights=resnet152=FILE, ")
    assert hours.startswith("hours: about ") and "1 unfinished cells" in hours and "estimate" in hours
    assert table.main([*arguments, f"--weights=resnet152={tmp_path}/w.npz"]) == 0
    assert (
        f"weights: resnet152 is missing: --weights=resnet152={tmp_path}/w.npz: no such file" in capsys.readouterr().out
    )
    (tmp_path / "w.npz").touch()
    assert table.main([*arguments, f"--weights=resnet152={tmp_path}/w.npz"]) == 0
    assert f"weights: resnet152 is given: {tmp_path}/w.npz" in capsys.readouterr().out
    assert table.main([*arguments[:3], "--data=mnist5k", "--table=all"]) == 0
    title, data, hours = capsys.readouterr().out.splitlines()
    assert title == "reslt:4: three rows (1 cells)" and data.strip() == "data: mnist5k is here"


def test_a_run_that_is_not_possible_is_a_line_and_does_not_count():
    impossible = recipes.resolved("cifar100", "asynchronous", "imbalance=10")
    lines = needs.needs([impossible], [], {})
    assert lines[-2].startswith("cannot run: config.asynchronous.split: ") and lines[-1].startswith(
        "hours: about 0 for 0"
    )


def test_the_work_of_a_run_is_three_passes_of_every_image_or_one_where_the_backbone_is_frozen(monkeypatch):
    monkeypatch.setattr(needs, "forward_flops", lambda network, shape: 1)
    first = needs.training_flops(recipes.resolved("imagenet", "ce"))
    assert first == 3 * 90 * (115_846 // 512) * 512
    second = needs.training_flops(recipes.resolved("imagenet", "decoupling"))
    assert second - first == 10 * (115_846 // 512) * 512
    auxiliary = needs.training_flops(recipes.resolved("imagenet", "auxiliary"))
    assert auxiliary == 3 * 2 * 90 * -(-115_846 // 128) * 128


MISTAKES = {
    "table": (["--table=reslt:99"], ["--table", "reslt:99", "did you mean"]),
    "all": (["--table=all"], ["--list"]),
    "data": (["--table=reslt:1", "--data=mnist"], ["--data", "'mnist'", "did you mean 'mnist5k'"]),
    "data without a recipe": (["--table=lift:6", "--data=mnist5k"], ["--data", "'mnist5k'", "'lift:6'", "cifar100"]),
    "data of a benchmark": (["--table=cifar", "--data=mnist5k"], ["--data", "'cifar'"]),
    "weights": (["--table=reslt:1", "--weights=resnet152"], ["--weights", "resnet152", "--weights=NAME=FILE"]),
    "unknown weights": (["--table=reslt:1", "--weights=resnet51=w.npz"], ["--weights", "did you mean"]),
    "data dir": (["--table=reslt:1", "--data-dir=places=D"], ["--data-dir", "did you mean 'places_lt'"]),
    "cell": (["--table=reslt:1", "--only=ResLT"], ["--only", "did you mean 'ResLT (Ours)'"]),
    "data as a setting": (["--table=reslt:1", "--config.data.name=mnist5k"], ["config.data.name", "--data"]),
}


@pytest.mark.parametrize("arguments, words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(table, "train_and_report", lambda argv: pytest.fail("it was wrong"))
    assert table.main([f"--root={tmp_path}", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert all(word in captured.err for word in words), captured.err


@pytest.fixture
def compiled_fast():
    """Toys: compiling them is all that takes time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_fast")
def test_one_table_of_each_paper_on_mnist(tmp_path, monkeypatch, capsys):
    """Real runs of a tiny network in one root: what rows or tables have in common is trained once."""
    monkeypatch.setattr(table, "train_and_report", counted := Counted())
    flags = [f"--root={tmp_path}", "--data=mnist5k", "--num-seeds=1", *TINY]
    made = {
        "decoupling:1": ("C", ["mnist5k_ce", "mnist5k_decoupling"], 1),
        "reslt:1": ("Baseline (CE),Baseline (1)", ["mnist5k_reslt_variant-baseline"], 4),
        "asynchronous:3": ("Cross Entropy,Ours (plain)", ["mnist5k_asynchronous_plain"], 2),
        "auxiliary:4": ("1:0 (CBS-Only)", ["mnist5k_auxiliary_cbs_only"], 1),
    }
    for name, (rows, runs, shown) in made.items():
        counted.runs.clear()
        assert table.main([*flags, f"--table={name}", f"--only={rows}"]) == 0
        assert counted.runs == runs
        page = capsys.readouterr().out
        assert page == (tmp_path / f"{name.replace(':', '_')}_mnist5k.md").read_text()
        lines = [line for line in page.splitlines() if "| finished |" in line and not line.startswith("| `")]
        assert len(lines) == shown and " / -" not in "".join(lines)


class Counted:
    """Trains, and notes which runs."""

    def __init__(self):
        self.runs = []

    def __call__(self, argv):
        self.runs += [pathlib.Path(word.partition("=")[2]).name for word in argv if word.startswith("--workdir=")]
        return train(argv)
