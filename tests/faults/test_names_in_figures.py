"""Figures: names that no font has, formulas, long names, look-alikes; and the backend that a notebook leaves behind."""

import os
import pathlib
import re
import subprocess
import sys

import matplotlib
import pytest
from matplotlib import font_manager

from ltjax import escape
from ltjax.class_counts import shot_groups
from ltjax.report import fonts
from ltjax.report.classes import class_curve
from ltjax.report.figures import draw, numbered_classes
from ltjax.report.style import legend_label, new_figure, png, style_for
from ltjax.report.text import format_report
from tests.faults.nasty import ESCAPE, NAMES
from tests.faults.test_names import named_run
from tests.report.synthetic import counts_of

ROOT = pathlib.Path(__file__).parents[2]
ROSE, EMOJI = "\u73ab\u7470", "\U0001f339"


@pytest.fixture
def no_box(recwarn):
    """matplotlib warns of each letter that it draws as a box."""
    yield
    assert not [str(one.message) for one in recwarn if "missing from" in str(one.message)]


def test_names_that_no_font_has_are_class_numbers_in_the_figures_and_named_in_the_report(no_box):
    names = [*NAMES[:3], "$x_1$ and $y^2$", "_private", "\u05e9\u05dc\u05d5\u05dd", ROSE, EMOJI, "x" * 250]
    rows = [{"step": i, "epoch": i / 2, "stage": f"$a$ {ESCAPE}", "loss": 1 / i, "class_loss/6": 1.0} for i in (1, 2)]
    run = named_run(names, rows)
    figures = draw(run)
    assert set(figures) == {"training", "class_losses", "accuracy_per_class", "confusion", "weight_norms"}
    by_number = numbered_classes(run)
    assert by_number == {6: ROSE, 7: EMOJI}
    assert f"no installed font can draw: 6 = {ROSE}; 7 = {EMOJI}." in format_report(run, list(figures), by_number)


@pytest.mark.parametrize("classes", [3, 34, 365])
def test_the_counts_of_classes_are_drawn_whatever_their_names(classes, no_box):
    names = [NAMES[i % len(NAMES)] + str(i) * (i >= len(NAMES)) for i in range(classes)]
    counts = counts_of(classes, 500, 100)
    assert class_curve({"train": counts}, shot_groups(counts, "strict"), names)


def test_an_installed_font_that_has_the_letters_is_used(tmp_path, monkeypatch, no_box):
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    font, pen = FontBuilder(1000, isTTF=True), TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((0, 700))
    pen.lineTo((700, 700))
    pen.closePath()
    font.setupGlyphOrder([".notdef", "rose"])
    font.setupCharacterMap({ord(letter): "rose" for letter in ROSE})
    font.setupGlyf(dict.fromkeys([".notdef", "rose"], pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys([".notdef", "rose"], (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Two Roses", "styleName": "Regular"})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(tmp_path / "roses.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    font_manager.fontManager.addfont(str(tmp_path / "roses.ttf"))
    assert fonts.families([f"{ROSE} and rose"]) == [fonts.BASE, "Two Roses"]
    with matplotlib.rc_context(style_for([ROSE])):
        assert fonts.class_ticks([ROSE, EMOJI]) == [ROSE, "1"]
        figure = new_figure(2, 2)
        figure.subplots().set_title(fonts.drawn(ROSE))
        assert png(figure)


def test_scripts_that_join_or_reorder_letters_need_a_matplotlib_that_does(monkeypatch):
    names = ["\u05e9\u05dc\u05d5\u05dd", "e\u0301", "\u0939\u093f"]  # Hebrew, a composed letter, Hindi
    monkeypatch.setattr(fonts, "SHAPES_TEXT", False)
    with matplotlib.rc_context(style_for(names)):
        assert fonts.class_ticks(names) == ["0", "e\u0301", "2"]


def test_labels_in_figures_stay_short_and_different_and_in_the_legend():
    with matplotlib.rc_context(style_for([])):
        shown = fonts.class_ticks(escape.distinct(NAMES))
        assert len(set(shown)) == len(NAMES) and max(map(escape.columns, shown)) <= fonts.NAME_WIDTH
        assert legend_label("_private") == " _private"  # matplotlib drops labels that begin with _
        assert len(legend_label("x" * 250)) <= 100 and fonts.drawn("$x_1$") == r"\$x_1\$"


BACKEND = """
import sys
from ltjax.report.style import new_figure, png
import matplotlib
assert png(new_figure(1, 1))
print(matplotlib.rcParams["backend"], "matplotlib.pyplot" in sys.modules)
"""


@pytest.mark.parametrize(
    "given, used",
    [
        ("module://matplotlib_inline.backend_inline", None),  # what a notebook's commands inherit
        ("nonsense", "agg"),
        ("pdf", "pdf"),  # a backend that is there stays the process's own
    ],
)
def test_figures_need_no_backend_of_a_notebook(given, used):
    env = os.environ | {"MPLBACKEND": given}
    ran = subprocess.run([sys.executable, "-c", BACKEND], env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert used is None or ran.stdout == f"{used} False\n"


def test_every_figure_is_made_by_the_report_without_pyplot():
    for path in (*ROOT.glob("ltjax/**/*.py"), *ROOT.glob("docs/**/*.py")):
        found = re.findall(r"^\s*(?:from|import) (matplotlib[\w.]*)", path.read_text(), re.MULTILINE)
        assert not found or "ltjax/report" in path.as_posix(), path
        assert "matplotlib.pyplot" not in found, path
