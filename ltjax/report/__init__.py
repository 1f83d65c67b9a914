"""Report: the numbers of a run and the pictures a person would look at first."""

from etils import epath

from ltjax.report.comparison import Entry, format_comparison
from ltjax.report.run import read_run
from ltjax.report.text import CAPTIONS, format_report, format_table, percent

__all__ = ["Entry", "format_comparison", "format_table", "percent", "write_report"]


def write_report(workdir: epath.PathLike) -> epath.Path:
    """Writes ``workdir/report/report.md`` and its PNG pictures from the files of a run; returns the path of report.md.

    Reads results.json (needed), metrics.jsonl, config.json and evaluation.npz (each may be missing or short: what it
    would show is then left out, and report.md says so). Paths may be ``gs://``. Each file is replaced as a whole.

    Raises:
      InputError: if there is no readable results.json, or the arrays are of another number of classes.

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
      ('report.md', ['accuracy_per_class.png', 'report.md'])
    """
    # matplotlib takes half a second to load, which a command that only prints a table need not wait for
    from ltjax.report.pictures import draw

    run = read_run(workdir)
    folder = epath.Path(workdir) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw(run)
    for name in CAPTIONS:
        if name in pictures:
            _replace(folder / f"{name}.png", pictures[name])
        else:  # left by an earlier report on the same run
            (folder / f"{name}.png").unlink(missing_ok=True)
    report = folder / "report.md"
    _replace(report, format_report(run, list(pictures)).encode())
    return report


def _replace(path: epath.Path, content: bytes) -> None:
    """Writes beside ``path`` and renames, so that a reader never sees half a file."""
    temporary = path.parent / f".{path.name}.tmp"
    temporary.write_bytes(content)
    temporary.replace(path)
