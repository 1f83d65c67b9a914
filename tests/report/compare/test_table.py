"""The common table: what it refuses, and its three forms."""

import csv
import io
import re

import pytest

from ltjax.errors import InputError
from ltjax.report.compare.differences import differences, refuse
from ltjax.report.compare.groups import group_by_seed
from ltjax.report.compare.table import as_csv, as_latex, as_markdown, compare
from tests.report.compare.rows import member


def rows(*members):
    return group_by_seed(members)


@pytest.mark.parametrize(
    ("aspect", "other", "words"),
    [
        ("data", {"train_index_sha256": "f" * 64}, "the training images: .*0123456789ab.* .ce.*ffffffffffff"),
        ("epochs", {"epochs": 90}, "the number of epochs.*200 .ce., 90 .reslt."),
        ("test", {"split": "validation"}, "the test images: cifar10 test, 1,000 images .ce., cifar10 validation"),
        ("groups", {"convention": "index"}, "--allow=groups .or --shots=NAME"),
    ],
)
def test_what_differs_is_named_and_refused_unless_allowed(aspect, other, words):
    groups = rows(member("ce"), member("reslt", **other))
    assert list(differences(groups)) == [aspect]
    with pytest.raises(InputError, match=words) as caught:
        refuse(groups, [])
    assert "\n" not in str(caught.value) and f"--allow={aspect}" in str(caught.value)
    assert list(refuse(groups, [aspect])) == [aspect]


def test_other_test_images_are_a_difference_where_all_runs_have_their_hash():
    one, two = {"test_index_sha256": "a" * 64}, {"test_index_sha256": "b" * 64}
    assert "1,000 images, aaaaaaaaaaaa" in differences(rows(member("ce", **one), member("reslt", **two)))["test"]
    assert differences(rows(member("ce", **one), member("reslt"))) == {}


def test_equal_rows_are_not_refused():
    assert refuse(rows(member("ce"), member("reslt"), member("ce", seed=1)), []) == {}


def test_all_refused_aspects_are_one_line():
    groups = rows(member("ce"), member("reslt", epochs=9, train_index_sha256="f" * 64))
    with pytest.raises(InputError, match=r"--allow=data,epochs$"):
        refuse(groups, [])
    with pytest.raises(InputError, match=r"--allow=epochs$"):
        refuse(groups, ["data"])


def test_a_difference_that_is_allowed_is_a_column():
    groups = rows(member("ce"), member("reslt", epochs=9))
    table = as_markdown(compare(groups, [], differences(groups)))
    assert table.splitlines()[0].endswith("| seeds | epochs |") and table.splitlines()[-1].endswith("| 1 | 9 |")


def test_the_three_forms_have_the_same_numbers():
    groups = rows(member("ce"), member("ce", seed=1), member("reslt", name="50 % a_b & $x$"))
    table = compare(groups, [groups[0]])
    markdown, latex = as_markdown(table).splitlines(), as_latex(table)
    parsed = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [line["method"] for line in parsed] == ["ce", "50 % a_b & $x$"]
    mean, deviation = groups[0].accuracy("few")
    assert float(parsed[0]["few"]) == pytest.approx(100 * mean, abs=1e-4)
    assert float(parsed[0]["few_std"]) == pytest.approx(100 * deviation, abs=1e-4) and parsed[1]["few_std"] == ""
    gain = groups[1].accuracy("all")[0] - groups[0].accuracy("all")[0]
    assert float(parsed[1]["gain_over_ce"]) == pytest.approx(100 * gain, abs=1e-4) and parsed[0]["gain_over_ce"] == ""
    cell = f"{100 * mean:.1f} ± {100 * deviation:.1f}"
    assert f"| {cell} |" in markdown[2] and f"${cell.replace('±', chr(92) + 'pm')}$" in latex
    assert r"50 \% a\_b \& \$x\$" in latex


def test_latex_has_as_many_cells_in_every_line_as_columns():
    groups = rows(member("ce", counts=[200, 50]), member("reslt", counts=[200, 50], name="a & b_c%"))
    assert groups[0].accuracy("few") == (None, None)
    lines = as_latex(compare(groups, groups[:1], {"epochs": ""})).splitlines()
    columns = re.fullmatch(r"\\begin\{tabular\}\{(l)(r+)\}", lines[1])
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 3 and lines[-1] == r"\end{tabular}"
    for line in body:
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns[2])
        assert not re.search(r"(?<!\\)[%_#]", line)
        assert line.count("$") % 2 == 0
    assert " -- " in body[1]
