"""The report of a finished run: report.md with its numbers and figures, and report.html, a page with everything."""

import os
import sys

from etils import epath

from ltjax.report.comparison import Entry, commits_of, explain_groups, format_comparison
from ltjax.report.run import read_run
from ltjax.report.text import CAPTIONS, format_report, format_table, percent


def _import_matplotlib() -> None:
    """Imports matplotlib where MPLBACKEND, which a notebook sets for its commands, names a backend that is not there.

    matplotlib cannot be imported then. The figures need no backend of pyplot's: each is drawn on a canvas of its own. A
    backend that is there stays the process's own.
    """
    given = os.environ.get("MPLBACKEND")
    if given is None or "matplotlib" in sys.modules:
        return
    os.environ["MPLBACKEND"] = "agg"
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = given
    try:
        matplotlib.rcParams["backend"] = given
    except ValueError:
        return


_import_matplotlib()

PAGE = "report.html"

__all__ = [
    "PAGE",
    "Entry",
    "commits_of",
    "explain_groups",
    "format_comparison",
    "format_table",
    "percent",
    "replace_file",
    "write_report",
]


def write_report(workdir: epath.PathLike) -> epath.Path:
    """Writes ``workdir/report/report.md``, its PNG figures and report.html from the files of a run.

    Reads results.json (required), metrics.jsonl, config.json, evaluation.npz and gallery.npz. All others may be missing
    or incomplete: figures without data are omitted, and both reports list them. Paths may be ``gs://``. Files are
    replaced atomically.

    Returns:
      The path of report.md, which is written last.

    Raises:
      InputError: if results.json is missing or unreadable, or an array has a different number of classes.

    Example:
      >>> import json, tempfile
      >>> shots = {"strict": {"many": 0.9, "medium": 0.6, "few": None, "classes": [1, 1, 0]}}
      >>> results = {"method": "ce", "dataset": "toy", "split": "test", "epochs": 1, "step": 2, "epoch_rule": "last",
      ...            "parameter_count": 9, "train_size": 250, "class_counts": [200, 50], "train_index_sha256": "ab",
      ...            "seeds": [0], "wall_time_s": 1.0, "hardware": "cpu", "accuracy": {"all": 0.75},
      ...            "convention": "strict", "shots": shots, "per_class": [0.9, 0.6]}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = (epath.Path(folder) / "results.json").write_text(json.dumps(results))
      ...     path = write_report(folder)
      ...     path.name, sorted(p.name for p in path.parent.iterdir())
      ('report.md', ['accuracy_per_class.png', 'report.html', 'report.md'])
    """
    # matplotlib takes half a second to import; commands that only print a table do without it
    from ltjax.report.figures import draw, numbered_classes
    from ltjax.report.page import html_page

    run = read_run(workdir)
    folder = epath.Path(workdir) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    figures = draw(run)
    for name in CAPTIONS:
        if name in figures:
            replace_file(folder / f"{name}.png", figures[name])
        else:  # left by an earlier report on the same run
            (folder / f"{name}.png").unlink(missing_ok=True)
    replace_file(folder / PAGE, html_page(run).encode("utf-8", "replace"))
    report = folder / "report.md"
    replace_file(report, format_report(run, list(figures), numbered_classes(run)).encode())
    return report


def replace_file(path: epath.Path, content: bytes) -> None:
    """Writes a temporary file and renames it to ``path``, so that a reader never sees a partial file."""
    temporary = path.parent / f".{path.name}.tmp"
    temporary.write_bytes(content)
    temporary.replace(path)
