"""Names from outside: every output shows them and none obeys them; nothing is lost to one."""

import csv
import dataclasses
import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from ltjax import escape
from ltjax.commands.check.report import describe
from ltjax.commands.cli import guarded
from ltjax.commands.predict.rows import Prediction, Table, csv_part, join_csv
from ltjax.data.datasets import prepared_shards
from ltjax.errors import InputError
from ltjax.report.compare.table import Comparison, Line, as_latex, as_markdown
from ltjax.report.compare.table import as_csv as compared_csv
from ltjax.report.run import Run
from ltjax.report.text import format_report, format_table
from ltjax.training.progress import Progress
from tests.faults.nasty import BYTES, ESCAPE, NAMES
from tests.report.synthetic import counts_of, results_of

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ud800-\udfff]")  # without the line break


def named_run(names, rows=()):
    """A finished run whose classes have these names."""
    counts = counts_of(len(names), 500, 100)
    confusion = np.eye(len(names), dtype=np.int64) * 3
    norms = np.linspace(1, 2, len(names))
    return Run(results_of(counts, names=names), list(rows), None, confusion, norms, None, 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_line_without_control_characters_in_a_terminal(name):
    shown = escape.terminal(name)
    assert not CONTROL.search(shown) and "\n" not in shown
    assert shown.encode().decode() == shown  # always UTF-8


@pytest.mark.parametrize("name", NAMES)
def test_a_csv_cell_is_no_formula_and_gives_the_exact_name_back(name):
    cell = escape.csv_cell(name)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not CONTROL.search(cell)
    assert escape.from_csv_cell(cell) == name
    assert os.fsencode(escape.from_csv_cell(escape.csv_cell(BYTES))) == b"caf\xe9"


def test_every_character_of_two_planes_survives_a_csv_cell():
    for code in (*range(0x3000), *range(0xD800, 0xE000), *range(0xFE00, 0xFFFF), *range(0xE0000, 0xE0080)):
        name = f"{chr(code)}\\x8{chr(code)}"
        assert escape.from_csv_cell(escape.csv_cell(name)) == name


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_alone_in_markdown(name):
    shown = escape.markdown(name)
    assert not CONTROL.search(shown) and "\n" not in shown
    rest = re.sub(r"\\[!-/:-@\[-`{-~]|&(?:amp|lt|gt|#\d+);", "", shown)  # what is escaped is text
    assert not re.search(r"[`*\[\]<>|~$\\]|://|www\.|(?<![^\W_])_|_(?![^\W_])", rest)
    spans = re.fullmatch(r"(`+)(.*?)\1", escape.markdown_code(name), re.DOTALL)
    assert spans is not None and spans[1] not in re.findall("`+", spans[2])


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_alone_in_latex(name):
    shown = escape.latex(name)
    assert not CONTROL.search(shown) and not shown.startswith(("[", "*"))
    rest = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}|\\[&%$#_{}]", "", shown
    )
    rest = re.sub(r"\{[\[\]*`]\}", "", rest)
    assert not re.search(r"[\\&%$#_{}~^<>|]", rest)


def test_names_that_look_alike_are_told_apart():
    shown = escape.distinct(NAMES)
    assert len({escape.terminal(one) for one in shown}) == len(NAMES)
    assert all(one == one.strip() and one for one in shown)
    assert escape.distinct(["Rose", "rose"]) == ["Rose", "rose"]


def test_the_report_has_one_row_of_three_cells_for_each_class():
    run = named_run(NAMES)
    report = format_report(run, [], {3: NAMES[3]})
    assert not CONTROL.search(report) and "<img" not in report and report.count("</details>") == 1
    of_classes = [line for line in report.splitlines() if line.startswith("|")][-len(NAMES) :]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in of_classes)
    changed = dataclasses.replace(run, results=run.results | {"method": f"/mine{ESCAPE}/x.py:<b>", "dataset": "a|b"})
    assert not CONTROL.search(format_table(changed.results)) and "<b>" not in format_report(changed, [])


@pytest.fixture(scope="module")
def table():
    numbers = [(0.9, None), (None, None), (0.4, 0.02), (0.7, 0.01)]
    return Comparison([Line(name, numbers, [-0.1], 2, {"data": name}) for name in NAMES], [ESCAPE])


def test_a_comparison_has_one_row_for_each_name_in_every_form(table):
    markdown, latex = as_markdown(table), as_latex(table)
    assert len(markdown.splitlines()) == 2 + len(NAMES) and not CONTROL.search(markdown + latex)
    assert len(latex.splitlines()) == 8 + len(NAMES)  # two comments, five lines of the table, a row for the names
    rows = list(csv.reader(io.StringIO(compared_csv(table))))
    assert [escape.from_csv_cell(row[0]) for row in rows[1:]] == list(NAMES)
    assert {row[9] for row in rows[1:]} == {"-10.0000"}  # a negative number is no formula and stays a number


def test_predictions_as_csv_keep_paths_and_classes(tmp_path):
    rows = [Prediction(name, [i], [0.5]) for i, name in enumerate(NAMES)]
    (tmp_path / "part").write_bytes(csv_part(rows, Table(NAMES, 1)))
    joined = io.BytesIO()
    join_csv([str(tmp_path / "part")], joined, Table(NAMES, 1))
    text = joined.getvalue().decode()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [escape.from_csv_cell(row["path"]) for row in read] == list(NAMES)
    assert [escape.from_csv_cell(row["class_1"]) for row in read] == list(NAMES)
    assert len(text.splitlines()) == 1 + len(NAMES) and not CONTROL.search(text)


def test_class_names_of_a_manifest_are_text(monkeypatch):
    for names in ([None, "rose"], [True], 3, None):
        monkeypatch.setattr(prepared_shards, "read_manifest", lambda root, names=names: {"class_names": names})
        with pytest.raises(InputError, match=r"manifest\.json: incomplete \(.*(not text|not iterable)"):
            prepared_shards.read_shards("shards", None)


def test_check_prints_a_line_for_each_line():
    counts = {"train": list(range(1, len(NAMES) + 1))}
    report = {
        "class_names": list(NAMES), "counts": counts, "images": {"train": sum(counts["train"])}, "groups": {},
        "convention": "strict", "notes": [ESCAPE],
    }  # fmt: skip
    text = describe(report, [])
    assert not CONTROL.search(text) and len(text.splitlines()) == 5


def test_errors_notes_and_progress_are_one_line_without_sequences(capsys):
    def fails(argv):
        raise InputError(f"{argv[0]}: no such file")

    assert guarded(fails, [f"{ESCAPE}\nok\n{BYTES}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and not CONTROL.search(error) and r"caf\xe9" in error
    stream = io.StringIO()
    Progress(1, 1, stream).report(f"skipped: {ESCAPE}\n{BYTES}")
    assert stream.getvalue().count("\n") == 1 and not CONTROL.search(stream.getvalue())


def test_a_run_goes_on_when_nobody_reads_its_progress():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    progress = Progress(1, 1, Closed())
    progress.report("one")
    progress.report("two")
    assert progress.quiet


PRINTS = """
import sys
from ltjax.commands.cli import guarded

def run(argv):
    for i in range(int(argv[0])):
        print("\\u73ab \\udce9", i)
    return 0

sys.exit(guarded(run))
"""


@pytest.mark.parametrize("encoding", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_any_letter_is_printed_in_any_locale(encoding):
    ran = subprocess.run([sys.executable, "-c", PRINTS, "1"], env=os.environ | encoding, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "\\u73ab \\udce9 0\n", "")


def test_a_closed_pipe_ends_a_command_quietly_and_a_full_disk_in_one_line():
    line = f"{sys.executable} -c '{PRINTS}' 100000"
    ran = subprocess.run(["bash", "-c", f"{line} | head -n 1; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (141, "") and ran.stdout.endswith(" 0\n")
    ran = subprocess.run(["bash", "-c", f"{line} >/dev/full"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (1, "error: No space left on device\n")
