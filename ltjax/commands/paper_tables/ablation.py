"""Tables of a config file of ingredients: which of them help.

An ablation has the base of the file, and a row for each ingredient that is added in turn. A table of candidates has the
recipe, and a row for each single change of it: without one of its ingredients, or with one of the others.

The file is one of ``configs/*_best.py``, or the user's: ``INGREDIENTS`` (name -> settings) beside its ``get_config``,
which ends with ``ltjax.methods.ingredients.with_ingredients``, and perhaps ``OTHERS``, as in there.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ltjax.commands.paper_tables.structure import Cell, join_words, name_of
from ltjax.errors import InputError
from ltjax.settings import command_line
from ltjax.settings.user_code import load_file

BASE = "base"  # as in ltjax.methods.ingredients, which starts JAX
Changes = Mapping[str, Any]


class Variant(NamedTuple):
    """One row.

    Attributes:
      label: what the row changes.
      ingredients: that it has, in the order of the file.
      against: the number of the row that its difference is taken to; None = none.
    """

    label: str
    ingredients: tuple[str, ...]
    against: int | None = None


class Ablation(NamedTuple):
    """The rows of one config file.

    Attributes:
      kind: a name in KINDS.
      file: as it was given, a name in configs or a path.
      rows: in the order of the table.
      epochs: of every row, in place of the file's; 0 = the file's.
    """

    kind: str
    file: str
    rows: tuple[Variant, ...]
    epochs: int = 0

    @property
    def stem(self) -> str:
        return pathlib.PurePath(self.file).stem

    def cells(self, data: str = "", short: bool = False) -> list[Cell]:
        """One cell for each row; ``data`` and ``short`` have to be empty."""
        assert not data and not short
        return [self._cell(row) for row in self.rows]

    def _cell(self, row: Variant) -> Cell:
        words = [BASE, *row.ingredients, *([f"epochs={self.epochs}"] if self.epochs else [])]
        name = name_of(join_words(self.stem, words))
        return Cell(name, join_words(self.file, words), words=frozenset((self.stem, *words)))


def in_turn(ingredients: Mapping[str, Changes], others: Mapping[str, Changes]) -> Iterator[Variant]:
    """The base, then one ingredient more in each row, compared with the row before."""
    del others
    names = (*ingredients,)
    yield Variant("base", ())
    for count, name in enumerate(names, start=1):
        yield Variant(f"+ {name}", names[:count], count - 1)


def one_change(ingredients: Mapping[str, Changes], others: Mapping[str, Changes]) -> Iterator[Variant]:
    """The recipe, then it with one ingredient less or one of the others more, compared with the recipe.

    Example:
      >>> rows = one_change({"balanced": {"loss.tau": 1.0}}, {"mixup": {"mix.name": "mixup"}})
      >>> [(row.label, row.ingredients) for row in rows]
      [('recipe', ('balanced',)), ('- balanced', ()), ('+ mixup', ('balanced', 'mixup'))]
    """
    names = (*ingredients,)
    yield Variant("recipe", names)
    for name in names:
        yield Variant(f"- {name}", tuple(other for other in names if other != name), 0)
    for name, changes in others.items():
        replaced = [other for other, settings in ingredients.items() if settings.keys() <= changes.keys()]
        label = f"{name} instead of {' and '.join(replaced)}" if replaced else f"+ {name}"
        yield Variant(label, (*names, name), 0)


KINDS = {"ablation": in_turn, "candidates": one_change}


def is_of_ingredients(table: str) -> bool:
    """Whether ``--table`` has the form of such a table.

    Example:
      >>> [is_of_ingredients(table) for table in ("ablation:cifar100_best", "candidates:mine.py", "reslt:3")]
      [True, True, False]
    """
    kind, colon, _ = table.partition(":")
    return bool(colon) and kind in KINDS


def read_ablation(table: str, epochs: int = 0) -> Ablation:
    """The table that "ablation:FILE" or "candidates:FILE" names.

    Raises:
      InputError: if there is no such file, or it has no ingredients.

    Example:
      >>> [cell.config for cell in read_ablation("ablation:mnist5k_best", epochs=2).cells()][:2]
      ['mnist5k_best:base,epochs=2', 'mnist5k_best:base,balanced,epochs=2']
    """
    kind, _, file = table.partition(":")
    path = command_line.find(file)
    module = load_file(path, "--table")
    ingredients, others = (_changes_of(module, name, table) for name in ("INGREDIENTS", "OTHERS"))
    if not ingredients:
        raise InputError(
            f"--table={table}: {path} has no INGREDIENTS; this table needs a config file with them, such as "
            "cifar100_best, or your own (docs/guides/tuning.md)"
        )
    shipped = file.removeprefix("configs/").removesuffix(".py")
    is_shipped = "/" not in shipped and not pathlib.Path(file).is_file()
    rows = KINDS[kind](ingredients, others)
    return Ablation(kind, shipped if is_shipped else file, tuple(rows), epochs)


def _changes_of(module: object, name: str, table: str) -> Mapping[str, Changes]:
    """What the config file calls ``name``; {} if it has none."""
    found = getattr(module, name, {})
    if isinstance(found, Mapping) and all(isinstance(changes, Mapping) for changes in found.values()):
        return found
    raise InputError(
        f"--table={table}: its {name} is not a dict from each ingredient to a dict of settings; write it as "
        f'{name} = {{"balanced": {{"loss.tau": 1.0}}}}'
    )
