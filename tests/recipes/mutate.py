"""Mutates every number, switch and name in the recipes, one at a time; what no test notices is reported.

    python -m tests.recipes.mutate                      # all files, some minutes
    python -m tests.recipes.mutate configs/inat_ce.py ltjax/methods/ldam.py

A mutant is a file with one literal changed: a number one up and one down (a tenth, if it is no integer), True and False
exchanged, the name of a sampler, an augmentation, a backbone or another value of a setting replaced by the next of its
kind. In config files these are all literals; in modules those of settings, of constants and of tables at the top level,
and of the functions in ``FUNCTIONS``. Each mutant is loaded in this process in place of the file, and the comparisons
of test_recipes.py run until one fails. Nothing is written.

The exit status is 1 if a mutant survives.
"""

import ast
import contextlib
import importlib
import importlib.abc
import importlib.util
import pathlib
import sys
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
MODULES = (
    *sorted(
        path
        for path in (ROOT / "ltjax/methods").rglob("*.py")
        if path.name not in ("__init__.py", "configure.py", "stage.py")
    ),
    *(ROOT / f"ltjax/settings/{name}.py" for name in ("blocks", "config_file")),
    *(ROOT / f"ltjax/data/datasets/{name}.py" for name in ("assemble", "cifar", "lt_benchmarks")),
    *(ROOT / f"ltjax/data/augment/{name}.py" for name in ("autoaugment", "color_jitter", "crops", "registry")),
    ROOT / "ltjax/losses/ride.py",
)
# functions whose literals are numbers of a recipe
FUNCTIONS = (
    "short", "long", "strong", "from_scratch", "thirds", "oltr_word", "on_word", "resolve", "cifar_runs", "large_runs",
    "user_runs", "mean_momentum", "conventional_weight", "images_per_class", "published_alpha", "_solver", "_tau",
)  # fmt: skip
# calls whose arguments are names, messages, or the allowed values of a setting
NOT_RECIPES = ("new_config", "Check", "number", "integer", "one_of", "InputError", "name_id", "sets", "refuse")
# no recipes: how much is processed at a time, and a margin of the search for an optimum
LEFT_OUT = (
    ("ROWS", "as many rows are processed at a time, which changes no result"),
    ("TOLERANCE", "of the search for an optimum, not of a recipe; tests/methods/decoupling/test_lbfgs.py"),
    ("MOST", "bound of the same search"),
    ("LAST", "ranks of words that are applied last, which count only among themselves; tests/settings/test_epochs.py"),
    ("FUSIONS", "axes of arrays; tests/methods/test_reslt.py"),
    ("PARTS", "names of parts of a network; tests/methods/decoupling/test_stages.py"),
    ("TRAINED", "names of parameters; tests/methods/test_fslwf.py"),
    ("AUGMENTATIONS", "names of variants; tests/methods/test_auxiliary.py"),
    ("UNIT", "the scale of a random word"),
    ("OVERSAMPLING", "of the decoder's reduced size; tests/data/augment/test_crops.py"),
    ("FAST_OVERSAMPLING", "of the decoder's reduced size with data.fast_decode; tests/data/augment/test_crops.py"),
    ("MARGIN", "pixels around a crop that resampling reads; tests/data/augment/test_crops.py"),
    ("MAX_REDUCTION", "of the blur before linear interpolation; tests/data/augment/test_crops.py"),
    ("TRUNCATE", "how OpenCV rounds as Pillow does; tests/data/augment/test_augmentations.py"),
    ("ORDERS", "all orders of three changes; tests/data/augment/test_augmentations.py"),
    ("IDENTITY", "the matrix of no change; tests/data/augment/test_autoaugment.py"),
)


class Substitute(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a changed tree."""

    def __init__(self) -> None:
        self.name, self.path, self.code = "", "", compile("", "none", "exec")

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_loader(name, self, origin=self.path)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__file__ = self.path
        exec(self.code, module.__dict__)


SUBSTITUTE = Substitute()


def kinds() -> list[list[str]]:
    """Lists of names of which a setting takes one: the next one is the mutant."""
    from ltjax.data.augment.registry import TRANSFORMS
    from ltjax.data.sampling import SAMPLERS
    from ltjax.methods import METHODS
    from ltjax.models import BACKBONES
    from ltjax.settings.blocks import Settings
    from ltjax.settings.schema import leaves

    found = [
        list(SAMPLERS),
        list(TRANSFORMS),
        ["crop224_flip", "crop224_flip_jitter", "crop224_flip_autoaugment"],
        sorted(BACKBONES),
    ]
    for block in [Settings, *(method.settings for method in METHODS.values())]:
        found += [list(about.check.names) for *_, about in leaves(block) if about.check and about.check.names]
    return found


def changed(value: object, names: list[list[str]]) -> list[object]:
    """The mutants of a literal."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.1, value * 0.9] if value else [0.1]
    if isinstance(value, str):
        nexts = [kind[(kind.index(value) + 1) % len(kind)] for kind in names if value in kind and len(kind) > 1]
        return list(nexts[:1])
    return []


def literals(tree: ast.Module, config: bool) -> Iterator[ast.Constant]:
    """The literals of a file that are numbers of a recipe."""
    left_out = {name for name, _ in LEFT_OUT}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not (config or node.name in FUNCTIONS):
            continue
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if left_out & {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}:
                continue
        yield from within(node)


def within(node: ast.AST) -> Iterator[ast.Constant]:
    """The literals below a node, but for docstrings, messages, meanings and checks of settings, and keys."""
    if isinstance(node, ast.Constant):
        yield node
    elif isinstance(node, ast.Lambda | ast.Subscript | ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
        if isinstance(node, ast.Lambda) and not isinstance(node.body, ast.Compare | ast.BoolOp):
            yield from within(node.body)
    elif isinstance(node, ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.AnnAssign) and child.value is not None:
                yield from within(child.value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in NOT_RECIPES:
            return
        arguments = node.args[:1] if node.func.id == "setting" else [*node.args, *(k.value for k in node.keywords)]
        for child in arguments:
            yield from within(child)
    elif isinstance(node, ast.Dict):
        for key, child in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and not isinstance(key.value, str):
                yield key
            yield from within(child)
    elif isinstance(node, ast.FunctionDef):
        for child in (*node.args.defaults, *node.args.kw_defaults, *node.body):
            if child is not None:
                yield from within(child)
    else:
        for child in ast.iter_child_nodes(node):
            yield from within(child)


def forget(module: str) -> None:
    """Drops all that may hold on to a module of ltjax, config files too: the next import takes the mutant.

    Nothing below the methods imports them, and the rest is what takes time to import again.
    """
    above = "ltjax.methods" if module.startswith("ltjax.methods") else "ltjax"
    for name in list(sys.modules):
        if name.startswith((above, "ltjax_file_")) or name.split(".")[:2] == ["tests", "recipes"]:
            del sys.modules[name]


def first_difference(stems: tuple[str, ...], first: str) -> str:
    """What a test would report; "" = nothing. Recipes whose name has ``first`` in it come first.

    Args:
      stems: config files to compare; () = all, and defaults and constants.
      first: a word.
    """
    try:
        from tests.recipes import compare

        return compare.first_difference(stems, first)
    except Exception as error:  # a mutant that fails is one that is noticed
        return f"{type(error).__name__}: {error}"


def mutants(path: pathlib.Path, names: list[list[str]]) -> Iterator[tuple[str, ast.Module]]:
    """(where and what, the changed tree) of every mutant of a file; the trees are one object, changed in turn."""
    tree = ast.parse(path.read_text())
    for node in list(literals(tree, config=path.parent.name == "configs")):
        original = node.value
        for value in changed(original, names):
            node.value = value
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {original!r} -> {value!r}", tree
        node.value = original


@contextlib.contextmanager
def in_place_of(path: pathlib.Path, tree: ast.Module) -> Iterator[None]:
    """The file is what the tree says."""
    code = compile(tree, str(path), "exec")
    if path.parent.name == "configs":
        from ltjax.settings import command_line

        load, made = (
            command_line.load_file,
            importlib.util.module_from_spec(importlib.util.spec_from_loader(path.stem, None)),
        )
        made.__file__ = str(path)
        exec(code, made.__dict__)
        command_line.load_file = lambda name, key: made if pathlib.Path(name).stem == path.stem else load(name, key)
        try:
            yield
        finally:
            command_line.load_file = load
        return
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    SUBSTITUTE.name, SUBSTITUTE.path, SUBSTITUTE.code = name, str(path), code
    forget(name)
    try:
        yield
    finally:
        SUBSTITUTE.name = ""
        forget(name)


def check(path: pathlib.Path, names: list[list[str]]) -> tuple[int, list[str]]:
    """(number of mutants, survivors) of a file."""
    count, survivors = 0, []
    config = path.parent.name == "configs"
    for what, tree in mutants(path, names):
        count += 1
        try:
            with in_place_of(path, tree):
                noticed = first_difference((path.stem,) if config else (), path.stem)
        except Exception as error:
            noticed = f"{type(error).__name__}: {error}"
        if not noticed:
            survivors.append(what)
    return count, survivors


def main(arguments: list[str]) -> int:
    """The command."""
    sys.meta_path.insert(0, SUBSTITUTE)
    names = kinds()
    unchanged = first_difference((), "")
    if unchanged:
        print(f"without a mutant: {unchanged}; first make the tests pass")
        return 1
    paths = [ROOT / name for name in arguments] or [*sorted((ROOT / "configs").glob("*.py")), *MODULES]
    total, alive, start = 0, [], time.monotonic()
    for path in paths:
        count, survivors = check(path, names)
        total, alive = total + count, alive + survivors
        if count:
            print(f"{path.relative_to(ROOT)}: {count} mutants, {len(survivors)} survive")
        for line in survivors:
            print(f"    {line}")
    print(f"{total} mutants, {len(alive)} survive ({time.monotonic() - start:.0f} s)")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
