"""`check` and `prepare` of data sets that are stored in other formats: --format, and the word format=."""

import json

import pytest

from ltjax.commands.check import command as check
from ltjax.commands.prepare import shards as prepare
from ltjax.data import build
from ltjax.errors import InputError
from ltjax.methods.configure import from_command_line
from tests.data.datasets.test_tables import annotations, here, write_csv  # noqa: F401

records = pytest.importorskip("tests.data.datasets.test_records", reason='pip install "ltjax[parquet]"')
ROWS = [(f"{folder}/{n}.png", name) for folder, n, name in (("a", 1, "rose"), ("a", 2, "tulip"), ("b", 3, "rose"))]


@pytest.fixture(autouse=True)
def blank(monkeypatch):
    """A figure takes a third of a second."""
    monkeypatch.setattr(check, "_figure", lambda report: b"")


def checked(capsys, tmp_path, *arguments):
    """(exit status, what was printed, stderr, check.json or {})."""
    out = tmp_path.parent / f"{tmp_path.name}_out"  # not inside the data
    status = check.main([f"--out={out}", "--workers=1", *map(str, arguments), "--config.data.test_fraction=0.4"])
    printed, complaints = capsys.readouterr()
    return status, printed, complaints, json.loads((out / "check.json").read_text()) if out.exists() else {}


@pytest.mark.parametrize("name", records.FORMS)
def test_records_are_checked_and_prepared(image_settings, tmp_path, capsys, name):
    root = records.FORMS[name](tmp_path / "data")
    before = sorted(path.name for path in root.rglob("*"))
    status, printed, _, report = checked(capsys, tmp_path, f"--format={name}", f"--folder={root}")
    assert status == 0 and report["counts"]["train"] == [4, 2, 1] and report["files"]["formats"] == {"PNG": 10}
    assert f"folder_ce.py:format={name}" in printed
    assert sorted(path.name for path in root.rglob("*")) == before  # nothing is written beside the data
    shards = tmp_path / "shards"
    assert prepare.main([f"--format={name}", f"--folder={root}", f"--out={shards}", "--workers=1"]) == 0
    data, wanted = build(image_settings(name="shards", dir=shards)), build(image_settings(name=name, dir=root))
    assert data.fingerprint == wanted.fingerprint and data.class_names == wanted.class_names
    assert [data.train.encoded(i) for i in range(7)] == [wanted.train.encoded(i) for i in range(7)]


def test_tables_are_checked_and_prepared(here, image_settings, tmp_path, capsys):  # noqa: F811
    rows = [(name, label, "x") for name, label in ROWS]
    write_csv(tmp_path / "train.csv", rows, ("photo", "kind", "note"))
    (tmp_path / "train.json").write_text(json.dumps(annotations(ROWS)))
    flags = ["--format=csv", f"--list={tmp_path}/train.csv", f"--root={tmp_path}"]
    columns = ["--image-column=photo", "--label-column=kind"]
    status, printed, _, _ = checked(capsys, tmp_path, *flags)
    assert status == 1 and "is called path; set --image-column to the right one" in printed
    status, printed, _, report = checked(capsys, tmp_path, *flags, *columns)
    assert status == 0 and report["class_names"] == ["rose", "tulip"]
    assert "list_ce.py:format=csv" in printed and "--config.data.image_column=photo" in printed
    assert prepare.main([*flags, *columns, f"--out={tmp_path}/2", "--workers=1"]) == 0
    flags = [
        "--format=coco",
        f"--list={tmp_path}/train.json",
        f"--root={tmp_path}",
        f"--out={tmp_path}/3",
        "--workers=1",
    ]
    assert prepare.main(flags) == 0
    csv, coco = (build(image_settings(name="shards", dir=tmp_path / n, test_fraction=0.4)) for n in "23")
    assert csv.class_names == coco.class_names == ("rose", "tulip")
    assert csv.train.names.sha256() == coco.train.names.sha256()


def test_missing_files_of_a_table_are_all_found(here, tmp_path, capsys):  # noqa: F811
    write_csv(tmp_path / "train.csv", [*ROWS, ("a/8.png", "tulip"), ("a/9.png", "rose")])
    flags = ["--format=csv", f"--list={tmp_path}/train.csv", f"--root={tmp_path}"]
    status, _, _, report = checked(capsys, tmp_path, *flags)
    assert status == 1 and {one["kind"]: len(one["items"]) for one in report["findings"]}["absent"] == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--format=csv", "--folder=DIR"], "--format=csv needs --list=FILE and --root=DIR"),
        (["--format=parquet", "--list=a", "--root=DIR"], "--format=parquet needs --folder=DIR"),
        (["--folder=DIR", "--label-column=x"], "--label-column: only allowed with --format"),
        (
            ["--format=arrow", "--folder=DIR/no"],
            "--folder: 'DIR/no' does not exist; set it to the folder of the Arrow files",
        ),
    ],
)
def test_flags_that_do_not_fit(tmp_path, capsys, flags, said):
    flags = [flag.replace("DIR", str(tmp_path)) for flag in flags]
    for command in (check.main, prepare.main):
        command([*flags, f"--out={tmp_path}/out"])
        printed = "".join(capsys.readouterr())
        assert said.replace("DIR/no", f"{tmp_path}/no") in printed


def test_class_folders_are_not_looked_for_where_there_are_files_of_records(tmp_path, capsys):
    for name, form in records.FORMS.items():
        status, printed, _, _ = checked(capsys, tmp_path / name, f"--folder={form(tmp_path / name / 'data')}")
        assert status == 1 and f"write the word :format={name} behind the config file" in printed


def test_the_word_is_for_the_user_s_images():
    config, _ = from_command_line(
        ["--config=configs/list_ce.py:format=coco,short", "--workdir=x", "--config.data.dir=d"]
    )
    assert (config.data.name, config.recipe, config.epochs) == ("coco", "list", 10)
    for words, said in (
        ("folder_ce.py:format=parqet", "did you mean 'parquet'"),
        ("cifar10_ce.py:format=csv", "only for"),
    ):
        with pytest.raises(InputError, match=said):
            from_command_line([f"--config=configs/{words}", "--workdir=x"])
