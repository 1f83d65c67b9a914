"""The command that compares runs: which runs an argument names, what it writes, and its errors."""

import csv
import json

import numpy as np
import pytest

from ltjax.commands import compare, tsne
from ltjax.commands.run_settings import epochs_of, identifying_settings
from ltjax.report.run import state_of
from ltjax.settings.identity import to_json
from tests import recipes
from tests.report.synthetic import counts_of, norms_of, results_of, results_of_seeds, write_run

COUNTS = counts_of(10, 400, 40)
STORED: dict = {}


def stored(words, **changes):
    """config.json of a run of a config file."""
    family, _, arguments = words.partition(":")
    if words not in STORED:
        STORED[words] = json.loads(to_json(recipes.resolved("mnist5k", family, arguments)))
    made = json.loads(json.dumps(STORED[words]))
    for key, value in changes.items():
        *path, last = key.split("__")
        block = made
        for name in path:
            block = block[name]
        block[last] = value
    return made


def make_run(root, name, words="ce", *, seed=0, results=None, npz=True, **changes):
    folder = root / name
    folder.mkdir(parents=True)
    config = stored(words, seed=seed, **changes)
    random = np.random.default_rng([seed, len(words), len(name)])
    accuracies = np.clip(random.normal(0.7, 0.1, 10), 0, 1).round(3).tolist()
    made = results_of(COUNTS, per_class=accuracies, method=config["method"], seeds=[seed], dataset="mnist5k", epochs=20)
    made |= results or {}
    write_run(folder, made, config=config, weight_norms=norms_of(made) if npz else None)
    return str(folder)


def run(*arguments):
    return compare.main([str(argument) for argument in arguments])


def failed(capsys, *arguments):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def table_of(printed):
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:1] + lines[2:]]


def test_the_table_is_printed_and_nothing_is_written(tmp_path, capsys, monkeypatch):
    first, second = make_run(tmp_path, "a"), make_run(tmp_path, "b", "reslt")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run(first, f"{second}/results.json") == 0
    out = capsys.readouterr().out
    assert [row[0] for row in table_of(out)] == ["method", "ce", "reslt"] and "10 classes" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_out_gets_the_page_three_tables_and_the_figures(tmp_path, capsys):
    runs = [make_run(tmp_path, f"a{a}", f"reslt:alpha={a}") for a in (0.1, 0.9)] + [make_run(tmp_path, "ce")]
    out = tmp_path / "out"
    out.mkdir()
    (out / "views.png").write_bytes(b"of an earlier comparison")
    assert run(*runs, "--baseline=ce", f"--out={out}") == 0
    written = {path.name for path in out.iterdir()}
    figures = {f"{name}.png" for name in ("accuracy_by_class", "class_gains", "weight_norms", "sweep")}
    assert written == figures | {"comparison.md", "table.csv", "table.tex"}
    page = (out / "comparison.md").read_text()
    assert all(f"]({name})" in page for name in written - {"comparison.md"})
    assert "- Gradient conflict: no run measured gradients" in page and f"| `{runs[0]}` | 0 | 20 |" in page
    assert table_of(capsys.readouterr().out) == table_of(page)[:4]
    parsed = list(csv.DictReader((out / "table.csv").open()))
    assert [line["method"] for line in parsed] == ["reslt, alpha=0.1", "reslt, alpha=0.9", "ce"]


def test_seeds_of_separate_runs_are_one_row(tmp_path, capsys):
    make_run(tmp_path, "root/ce_0", gradients__every_steps=20)
    make_run(tmp_path, "root/ce_1", seed=1, data__dir="/elsewhere", watch_classes=[0])
    make_run(tmp_path, "root/reslt", "reslt")
    assert run(tmp_path / "root") == 0
    rows = table_of(capsys.readouterr().out)
    assert [(row[0], row[-1]) for row in rows[1:]] == [("ce", "2"), ("reslt", "1")] and "±" in rows[1][4]


def test_second_stages_of_other_seeds_start_from_first_stages_of_other_seeds(tmp_path, capsys):
    for seed in (0, 1):
        first = make_run(tmp_path, f"ce_{seed}", seed=seed)
        make_run(tmp_path, f"crt_{seed}", "decoupling:crt", seed=seed, init_from=first, results={"epochs": 10})
    other = make_run(tmp_path, "reslt", "reslt")
    make_run(tmp_path, "crt_2", "decoupling:crt", seed=2, init_from=other, results={"epochs": 10})
    runs = [tmp_path / f"crt_{seed}" for seed in (0, 1, 2)]
    assert run(*runs, make_run(tmp_path, "ce"), "--allow=epochs") == 0
    captured = capsys.readouterr().out
    rows = table_of(captured)
    assert [row[-2:] for row in rows[1:]] == [["2", "30"], ["1", "30"], ["1", "20"]]
    assert rows[2][0].startswith("decoupling, init_from=reslt ")
    assert "**The rows differ in the number of epochs" in captured


def test_epochs_of_a_first_stage_that_is_gone_are_those_of_the_setting():
    assert epochs_of({"epochs": 10}, {"init_from": "/gone", "epochs": 90}) == 100
    assert epochs_of({"epochs": 10}, None) == 10


def test_settings_of_an_older_run_have_the_defaults_and_those_of_a_missing_file_are_kept(tmp_path):
    old = stored("ce")
    del old["micro_batches"]
    assert identifying_settings(old) == identifying_settings(stored("ce"))
    missing = stored("ce", method=f"{tmp_path}/gone.py:mine", epochs=7)
    settings = identifying_settings(missing)
    assert settings["epochs"] == 7 and not {"seed", "method", "data.dir"} & set(settings)


def test_the_methods_own_settings_come_first():
    assert next(iter(identifying_settings(stored("reslt")))).startswith("reslt.")


@pytest.mark.parametrize(
    ("given", "name", "path"),
    [
        ("r=0.9", "", "r=0.9"),
        ("A=r=0.9", "A", "r=0.9"),
        ("a=1=r", "a=1", "r"),
        ("x=gone", "x", "gone"),
        ("gone", "", "gone"),
    ],
)
def test_names_and_paths_may_have_an_equals_sign(tmp_path, monkeypatch, given, name, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r=0.9").mkdir()
    (tmp_path / "r").mkdir()
    assert compare.name_and_path(given) == (name, path)


def test_unfinished_runs_of_a_folder_are_left_out_and_reported(tmp_path, capsys):
    make_run(tmp_path, "table/ce")
    begun = tmp_path / "table" / "reslt"
    begun.mkdir()
    (begun / "config.json").write_text("{}")
    assert run(tmp_path / "table") == 0
    captured = capsys.readouterr()
    assert len(table_of(captured.out)) == 2
    assert captured.err == f"{tmp_path}/table: 1 of 2 runs left out: reslt (not finished (no step is logged yet))\n"


def test_the_state_of_an_unfinished_run_is_its_last_logged_step(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"step": 20, "epoch": 1.5, "stage": "train"}\n{"step": 40, "ep')
    assert state_of(tmp_path) == "not finished (last logged: stage train, epoch 1.5, step 20)"


def test_mistakes_are_one_line(tmp_path, capsys):
    one, other = make_run(tmp_path, "one"), make_run(tmp_path, "two", "reslt")
    empty, begun, bad = tmp_path / "empty", tmp_path / "begun", tmp_path / "bad"
    for folder in (empty, begun, bad):
        folder.mkdir()
    (begun / "config.json").write_text("{}")
    (bad / "results.json").write_text('{"method": ')
    assert "the following arguments are required: [NAME=]RUN" in failed(capsys)
    assert "gone: no such file or folder" in failed(capsys, one, "gone")
    assert "empty: no run: neither results.json nor config.json" in failed(capsys, empty)
    assert "begun: not finished (no step is logged yet); run its training command again" in failed(capsys, begun)
    assert "results.json: is damaged" in failed(capsys, bad)
    (bad / "results.json").write_text("[]")
    assert "results.json: is damaged" in failed(capsys, bad)
    (bad / "results.json").write_text("{}")
    assert "not the results of a run, for it has no method" in failed(capsys, bad)
    assert "one: is given twice" in failed(capsys, one, one)
    assert "two rows are called 'x'" in failed(capsys, f"x={one}", f"x={other}")
    assert "neither a run nor a row (did you mean 'reslt'?)" in failed(capsys, one, other, "--baseline=resl")
    assert "did you mean 'epochs'" in failed(capsys, one, "--allow=epoch")
    assert "add --out=DIR" in failed(capsys, one, "--x=alpha")
    assert "--x=alpha: the runs do not differ in it" in failed(capsys, one, "--x=alpha", f"--out={tmp_path}/o")
    assert "invalid choice: 'srict'" in failed(capsys, one, "--shots=srict")
    (tmp_path / "file").write_text("")
    assert "file: not a run; name its workdir or its results.json" in failed(capsys, tmp_path / "file")
    assert "--out" in failed(capsys, one, f"--out={tmp_path}/file/inside")
    (tmp_path / "one" / "config.json").write_text("{")
    assert "config.json: is damaged" in failed(capsys, one)
    (tmp_path / "two" / "evaluation.npz").write_bytes(b"PK")
    assert "evaluation.npz: is damaged" in failed(capsys, other)


def test_other_data_is_refused_until_it_is_allowed(tmp_path, capsys):
    one = make_run(tmp_path, "one")
    other = make_run(tmp_path, "two", "reslt", results={"train_index_sha256": "e" * 64})
    assert "eeeeeeeeeeee, " in (error := failed(capsys, one, other)) and "--allow=data" in error
    assert run(one, other, "--allow=data") == 0
    assert table_of(capsys.readouterr().out)[2][-1] == "mnist5k eeeeeeeeeeee"


def test_a_baseline_may_be_a_run_beside_those_that_are_given(tmp_path, capsys):
    base = make_run(tmp_path, "base")
    other = make_run(tmp_path, "two", "reslt")
    assert run(other, f"--baseline={base}") == 0
    header, first, second = table_of(capsys.readouterr().out)
    assert header[5] == "gain over ce" and first[0] == "reslt" and first[5][0] in "+-" and second[5] == "-"
    assert run(f"A={other}", base, f"--baseline={base}", "--baseline=A") == 0
    assert table_of(capsys.readouterr().out)[0][5:7] == ["gain over ce", "gain over A"]


def test_one_convention_for_all(tmp_path, capsys):
    one = make_run(tmp_path, "one")
    several = results_of_seeds(COUNTS, 2, method="reslt", dataset="mnist5k", epochs=20)
    other = make_run(tmp_path, "two", "reslt", results=several, npz=False)
    third = make_run(tmp_path, "three", "baselines:ldam", results={"convention": "index"})
    assert "--shots=NAME" in failed(capsys, one, other, third)
    assert run(one, other, third, "--shots=index") == 0
    many = several["shots"]["index"]["many"], several["std"]["shots"]["index"]["many"]
    assert table_of(capsys.readouterr().out)[2][1] == f"{100 * many[0]:.1f} ± {100 * many[1]:.1f}"


def test_without_scikit_learn_tsne_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tsne.importlib.util, "find_spec", lambda name: None)
    error = failed(capsys, make_run(tmp_path, "one"), "--tsne", f"--out={tmp_path}/out")
    assert error == "error: --tsne: scikit-learn is not installed; install it with: pip install 'ltjax[tsne]'\n"


def test_tsne_takes_the_same_images_of_every_run(tmp_path, monkeypatch):
    asked = []

    def features(workdir, chosen, data_dir):
        asked.append((workdir, chosen, data_dir))
        random = np.random.default_rng(len(asked))
        return random.normal(size=(40, 5)), np.repeat([c for of in chosen.values() for c in of], 4)

    monkeypatch.setattr(tsne, "features_of_images", features)
    monkeypatch.setattr(tsne, "embedded", lambda rows: rows[:, :2])
    runs = [make_run(tmp_path, "one"), make_run(tmp_path, "two", "reslt")]
    assert run(*runs, "--tsne", "--data-dir=D", f"--out={tmp_path}/out") == 0
    assert [(workdir, data_dir) for workdir, _, data_dir in asked] == [(runs[0], "D"), (runs[1], "D")]
    assert asked[0][1] == asked[1][1] and sum(len(of) for of in asked[0][1].values()) == 10
    assert (tmp_path / "out" / "features.png").read_bytes().startswith(b"\x89PNG")


def test_the_images_of_tsne_are_always_the_same_and_at_most_fifty_of_a_class():
    labels = np.repeat([0, 1, 2], [80, 30, 90])
    records = tsne.chosen_images(labels, [2, 1])
    assert labels[records].tolist() == [2] * 50 + [1] * 30
    assert records.tolist() == tsne.chosen_images(labels, [2, 1]).tolist()


def test_an_embedding_is_repeatable_and_keeps_clusters_apart():
    rows = np.random.default_rng(0).normal(size=(24, 6)) + 20 * np.repeat([0, 1], 12)[:, None]
    first = tsne.embedded(rows)
    np.testing.assert_array_equal(first, tsne.embedded(rows))
    distances = np.linalg.norm(first[:, None] - first[None], axis=-1)
    assert distances[:12, 12:].min() > distances[:12, :12].max() / 2
