"""Several finished runs side by side: the papers' table, and figures of what distinguishes the runs."""

from collections.abc import Mapping, Sequence

from etils import epath

from ltjax import escape
from ltjax.errors import InputError
from ltjax.report import replace_file
from ltjax.report.compare.groups import Member, SeedGroup, group_by_seed
from ltjax.report.compare.page import CAPTIONS, explain, page
from ltjax.report.compare.sweep import Sweep, differing_settings, make_sweep, swept
from ltjax.report.compare.table import as_csv, as_latex, as_markdown, compare
from ltjax.report.text import format_numbered

__all__ = [
    "Member",
    "SeedGroup",
    "as_markdown",
    "choose_sweep",
    "compare",
    "explain",
    "group_by_seed",
    "write_comparison",
]


def choose_sweep(groups: Sequence[SeedGroup], key: str = "") -> Sweep | str:
    """The curves over ``key``, or over the one setting that the runs sweep; else why there are none.

    Raises:
      InputError: if ``key`` is given and the runs do not sweep it.
    """
    if key:
        return make_sweep(groups, key)
    keys = swept(groups)
    if len(keys) == 1:
        return make_sweep(groups, keys[0])
    if keys:
        return f"the runs differ in {', '.join(keys)}; choose one with --x=KEY"
    together = differing_settings(groups)
    if together:
        return f"no two runs differ in one setting only; --x=KEY takes one of {', '.join(together)}"
    return "no two runs of a method differ in a setting"


def write_comparison(
    folder: epath.PathLike,
    groups: Sequence[SeedGroup],
    baselines: Sequence[SeedGroup],
    sweep: Sweep | str,
    found: Mapping[str, str],
    features: bytes | None = None,
) -> epath.Path:
    """Writes comparison.md, table.csv, table.tex and the figures that the runs have data for; returns the page's path.

    Args:
      folder: is made if it does not exist; figures of an earlier comparison in it are replaced or removed.
      groups: the rows.
      baselines: those of them that gains are over.
      sweep: the curves over a setting, or why there are none.
      found: ``differences`` of the rows.
      features: the figure of their features, a PNG, or None.
    """
    # matplotlib takes half a second to import; a table alone does without it
    from ltjax.report.compare.figures import draw, numbered_classes

    root = epath.Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out={folder}: cannot be created ({error.strerror or error}); use another folder") from None
    figures, missing = draw(groups, baselines, sweep)
    if features is not None:
        figures["features"] = features
    else:
        missing["features"] = "--tsne was not given"
    table = compare(groups, baselines, found)
    notes = []
    if isinstance(sweep, Sweep) and sweep.along:
        along = ", ".join(sweep.along)
        notes.append(escape.markdown(f"In the curves over {sweep.key}, these settings vary along: {along}."))
    by_number = numbered_classes(groups, figures)
    if by_number:
        notes.append(format_numbered(by_number))
    files = {f"{name}.png": content for name, content in figures.items()}
    files |= {"table.csv": as_csv(table).encode(), "table.tex": as_latex(table).encode()}
    files["comparison.md"] = page(table, groups, found, list(figures), missing, notes, baselines).encode()
    for name in CAPTIONS:
        if name not in figures:
            (root / f"{name}.png").unlink(missing_ok=True)
    for name, content in files.items():
        replace_file(root / name, content)
    return root / "comparison.md"
