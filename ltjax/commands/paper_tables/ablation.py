"""Ablation tables: the base of a config file of ingredients, and a row for each ingredient that is added in turn.

The file is one of ``configs/*_best.py``, or the user's: ``INGREDIENTS`` (name -> settings) beside its ``get_config``,
which ends with ``ltjax.methods.ingredients.with_ingredients``.
"""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from ltjax.commands.paper_tables.structure import Cell, join_words, name_of
from ltjax.errors import InputError
from ltjax.settings import command_line
from ltjax.settings.user_code import load_file

PREFIX = "ablation:"
BASE = "base"


class Ablation(NamedTuple):
    """The rows of one config file.

    Attributes:
      file: as it was given, a name in configs or a path.
      ingredients: their names, in the order in which they are added.
      epochs: of every row, in place of the file's; 0 = the file's.
    """

    file: str
    ingredients: tuple[str, ...]
    epochs: int = 0

    @property
    def stem(self) -> str:
        return pathlib.PurePath(self.file).stem

    def cells(self, data: str = "", short: bool = False) -> list[Cell]:
        """One cell for each row; ``data`` and ``short`` have to be empty."""
        assert not data and not short
        return [self._cell(rows) for rows in range(len(self.ingredients) + 1)]

    def _cell(self, added: int) -> Cell:
        words = [BASE, *self.ingredients[:added], *([f"epochs={self.epochs}"] if self.epochs else [])]
        name = name_of(join_words(self.stem, words))
        return Cell(name, join_words(self.file, words), words=frozenset((self.stem, *words)))


def read_ablation(table: str, epochs: int = 0) -> Ablation:
    """The table that "ablation:FILE" names.

    Raises:
      InputError: if there is no such file, or it has no ingredients.

    Example:
      >>> [cell.config for cell in read_ablation("ablation:mnist5k_best", epochs=2).cells()][:2]
      ['mnist5k_best:base,epochs=2', 'mnist5k_best:base,balanced,epochs=2']
    """
    file = table.removeprefix(PREFIX)
    path = command_line.find(file)
    ingredients = getattr(load_file(path, "--table"), "INGREDIENTS", None)
    if not isinstance(ingredients, Mapping) or not ingredients:
        raise InputError(
            f"--table={table}: {path} has no INGREDIENTS; an ablation needs a config file with them, such as "
            "cifar100_best, or your own (docs/guides/tuning.md)"
        )
    shipped = file.removeprefix("configs/").removesuffix(".py")
    is_shipped = "/" not in shipped and not pathlib.Path(file).is_file()
    return Ablation(shipped if is_shipped else file, tuple(ingredients), epochs)
