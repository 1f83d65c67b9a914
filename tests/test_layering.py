"""DESIGN's import rules: who may import whom, and which third-party stacks a room may load."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "ltjax"
# A room may import itself, `errors`, and what is listed here. The small commands are leaves: anything goes.
ALLOWED = {
    "__init__": set(),
    "errors": set(),
    "class_counts": set(),
    "losses": {"class_counts"},
    "classifiers": {"class_counts"},
    "metrics": {"class_counts"},
    "data": {"class_counts"},
    "models": set(),
    "methods": {"class_counts", "losses", "classifiers", "metrics", "data", "models"},
    "training": {"class_counts", "losses", "classifiers", "metrics", "data", "models", "methods"},
    "report": {"metrics", "class_counts"},
    "config": {"presets", "training"},
    "presets": set(),
}
LEAVES = {"main", "evaluate", "predict", "export", "dryrun", "bench", "table", "rows", "data/check.py"}
PUBLIC = {"errors", "class_counts", "losses", "classifiers", "metrics"}
STACK = {"flax", "optax", "orbax", "grain", "tensorflow_datasets", "tensorflow", "PIL", "ml_collections", "matplotlib"}


def imports(path):
    """(top-level package, room of ltjax or None) of every import statement in the file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write it in full"
            names = [node.module]
            if node.module == "ltjax":
                names = [f"ltjax.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield parts[0], parts[1] if parts[0] == "ltjax" and len(parts) > 1 else None


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(f.relative_to(PACKAGE)) for f in FILES])
def test_a_room_imports_only_what_design_allows(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if {room, path.relative_to(PACKAGE).as_posix()} & LEAVES:
        return
    assert room in ALLOWED, f"{path}: no room named '{room}' in DESIGN"
    for top, other in imports(path):
        if top == "ltjax" and other is not None:
            assert other in ALLOWED[room] | {room, "errors"}, f"{path}: {room} may not import ltjax.{other}"
        if room in PUBLIC:
            assert top not in STACK, f"{path}: public functions may not load {top}"
        if room == "data" and path.name != "device_batches.py":
            assert top not in {"jax", "flax"}, f"{path}: data never loads {top}"
        if room == "methods":
            assert top not in {"orbax", "grain", "os", "pathlib", "etils"}, f"{path}: methods may not load {top}"
