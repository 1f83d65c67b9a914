"""DESIGN's import rules: every import in every file of ltjax must follow a listed edge. There are no exemptions.

``PACKAGES`` says which package may import which, ``SUBPACKAGES`` the same for the folders inside data and training.
Both tables have to be free of cycles, and so has the graph of all files. A door (``ltjax/evaluate.py``) is a file whose
only content is its docstring, one import and the main guard; it lies above everything, so nothing may import it.
"""

import ast
import graphlib
import pathlib
from collections.abc import Iterator, Mapping

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "ltjax"

# What a package or a module directly under ltjax may import, from the bottom to the top.
PACKAGES: dict[str, set[str]] = {
    "version": set(),
    "errors": set(),
    "escape": set(),  # names from outside, for whoever prints or writes one
    "processes": {"errors", "escape"},  # what data's and the commands' worker processes share
    "class_counts": {"errors"},
    "arrays": {"errors", "class_counts"},  # the arithmetic that losses, classifiers, metrics and heads share
    "losses": {"errors", "arrays", "class_counts"},
    "classifiers": {"errors", "arrays", "class_counts"},
    "metrics": {"errors", "arrays", "class_counts"},
    "settings": {"errors", "escape"},
    "hardware": {"errors"},
    "data": {"errors", "escape", "processes", "class_counts", "settings"},
    "samplers": {"errors", "class_counts", "data"},  # the public face of data/sampling
    "models": {"errors", "arrays", "class_counts", "settings"},  # heads share the classifiers' arithmetic
    "methods": {
        "errors", "arrays", "class_counts", "losses", "classifiers", "metrics", "settings", "data", "samplers",
        "models",
    },
    "training": {
        "version", "errors", "escape", "processes", "arrays", "class_counts", "losses", "classifiers", "metrics",
        "settings", "hardware", "data", "samplers", "models", "methods",
    },
    "report": {"errors", "escape", "class_counts", "metrics"},
    # Finished runs as models, and their exports with a card.
    "inference": {
        "version", "errors", "escape", "arrays", "class_counts", "classifiers", "settings", "data", "models", "methods",
        "training",
    },
    # ltjax/__init__.py: the public modules and ltjax.load, each imported on first use
    "": {"version", "arrays", "class_counts", "losses", "classifiers", "metrics", "samplers", "inference"},
    "commands": {
        "version", "errors", "escape", "processes", "class_counts", "classifiers", "metrics", "settings",
        "hardware", "data", "models", "methods", "training", "inference", "report",
    },
    # Both are commands, too: they parse arguments, print tables and report errors as the others do.
    "dryrun": {
        "errors", "escape", "class_counts", "settings", "hardware", "data", "models", "methods", "training",
        "commands",
    },
    "bench": {
        "errors", "escape", "arrays", "class_counts", "losses", "classifiers", "settings", "hardware",
        "data", "samplers", "models", "methods", "training", "commands",
        "dryrun",  # `bench scale` has dry runs made
    },
    "__main__": {"errors", "escape", "commands", "dryrun", "bench"},  # the console script
}  # fmt: skip

# The folders inside a package, from the bottom to the top: a folder may import those before it.
SUBPACKAGES: dict[str, tuple[str, ...]] = {
    "data": ("sampling", "augment", "storage", "datasets", "loading"),
    "training": ("step", "execution", "workdir", "features"),
}

PUBLIC = {"errors", "arrays", "class_counts", "losses", "classifiers", "metrics", "samplers"}
STACK = {
    "absl", "etils", "flax", "grain", "matplotlib", "ml_collections", "optax", "orbax", "PIL", "tensorboardX",
    "tensorflow", "tensorflow_datasets",
}  # fmt: skip
JAX = {"jax", "jaxlib", "flax", "optax", "orbax"}
ON_DEVICE = "ltjax.data.loading.device_batches"  # the one file of data that keeps a data set on the device
FILES_AND_DEVICES = {"os", "pathlib", "shutil", "tempfile", "etils", "orbax", "grain", "io", "subprocess"}


def module_of(path: pathlib.Path) -> str:
    """ltjax/data/__init__.py -> ltjax.data"""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {module: ast.parse(path.read_text()) for module, path in FILES.items()}


def imported(tree: ast.Module) -> Iterator[str]:
    """The dotted name of everything that a file imports, wherever in the file, by a statement or import_module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}: write it in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            name = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(name, ast.Constant):
                yield str(name.value).rstrip(".")


def nearest_module(name: str) -> str:
    """The file that ``import name`` or ``from ... import name`` reads: the longest prefix that is a module."""
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name


IMPORTS = {module: sorted(set(imported(tree))) for module, tree in TREES.items()}
GRAPH = {
    module: {nearest_module(name) for name in names if name.partition(".")[0] == "ltjax"} - {module}
    for module, names in IMPORTS.items()
}


def package_of(module: str) -> str:
    """ltjax.data.sampling.sampler -> data; ltjax -> "" """
    return module.split(".")[1] if "." in module else ""


def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes of a cycle, or nothing."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def is_door(tree: ast.Module) -> bool:
    """A docstring, `import sys`, one import from ltjax.commands, and the main guard; nothing else."""
    rest = tree.body[1:] if ast.get_docstring(tree) else []
    imports = [n for n in rest if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("ltjax.commands.")]
    others = [node for node in rest if node not in imports and not isinstance(node, ast.Import)]
    guarded = len(others) == 1 and isinstance(others[0], ast.If) and "__name__ == '__main__'" in ast.unparse(others[0])
    return guarded and len(imports) == 1


DOORS = {module for module, tree in TREES.items() if is_door(tree)}


def test_the_tables_have_no_cycles():
    assert not cycle_in(PACKAGES)
    assert set().union(*PACKAGES.values()) <= set(PACKAGES)


def test_the_files_import_each_other_without_cycles():
    assert not cycle_in(GRAPH)


def test_inside_every_package_files_and_folders_have_an_order():
    for package in sorted({parent for module in FILES for parent in _parents(module)}):
        children: dict[str, set[str]] = {}
        for module in FILES:
            if module.startswith(f"{package}.") and module not in DOORS:
                own = _child(module, package)
                others = (name for name in GRAPH[module] if name.startswith(f"{package}."))
                children.setdefault(own, set()).update({_child(name, package) for name in others} - {own})
        assert not cycle_in(children), f"{package}: its files and folders import each other in a cycle"


def _parents(module: str) -> list[str]:
    words = module.split(".")
    return [".".join(words[:n]) for n in range(1, len(words))]


def _child(module: str, package: str) -> str:
    return module.removeprefix(f"{package}.").partition(".")[0]


def test_doors_are_the_documented_ones_and_are_imported_by_nothing():
    assert {"ltjax.main", "ltjax.evaluate", "ltjax.predict", "ltjax.table"} <= DOORS
    assert {f"ltjax.data.{name}" for name in ("check", "prepare", "convert", "prepare_tfds")} <= DOORS
    for module, others in GRAPH.items():
        assert not others & DOORS, f"{FILES[module]}: imports a door; import from ltjax.commands"


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_only_what_design_allows(module):
    path, own = FILES[module], package_of(module)
    if module in DOORS:
        own = "__main__"  # on top, wherever the file lies
    assert own in PACKAGES, f"{path}: DESIGN has no package '{own}'"
    for other in GRAPH[module]:
        package = package_of(other)
        assert package == own or package in PACKAGES[own], f"{path}: {own} may not import {other}"
        inner, there = module.split(".")[2:3], other.split(".")[2:3]
        order = SUBPACKAGES.get(own, ())
        if package == own and {*inner, *there} <= set(order) and inner and there:
            assert order.index(there[0]) <= order.index(inner[0]), f"{path}: {own}.{inner[0]} may not import {other}"


@pytest.mark.parametrize("module", FILES)
def test_a_file_loads_only_the_third_party_packages_that_are_its_own(module):
    path, own = FILES[module], package_of(module)
    loaded = {name.partition(".")[0] for name in IMPORTS[module]}
    if own in PUBLIC:
        assert not loaded & STACK, f"{path}: a public module may not load {sorted(loaded & STACK)}"
    if own == "data" and module != ON_DEVICE:
        assert not loaded & JAX, f"{path}: data never loads {sorted(loaded & JAX)}"
    if own == "methods":
        assert not loaded & FILES_AND_DEVICES, f"{path}: methods may not touch {sorted(loaded & FILES_AND_DEVICES)}"
