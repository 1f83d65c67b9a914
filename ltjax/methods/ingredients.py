"""Config files that are a base recipe and a list of ingredients, each of which a word behind the colon puts in."""

from collections.abc import Mapping
from typing import Any

from ltjax.methods.configure import with_words
from ltjax.methods.method_word import OF_SECOND_STAGE, method_word
from ltjax.settings.config_dict import Config
from ltjax.settings.config_file import Word

BASE, WITHOUT = "base", "no_"
Changes = Mapping[str, Any]


def with_ingredients(
    config: Config,
    arg: str | None,
    ingredients: Mapping[str, Changes],
    others: Mapping[str, Changes] | None = None,
    words: Mapping[str, Word] | None = None,
) -> Config:
    """The config with its ingredients, then with the words behind its colon, as ``with_words``.

    All of ``ingredients`` are in and none of ``others``. The word NAME puts one in, ``no_NAME`` leaves one out, and
    ``base`` leaves all out but those that are named. They are applied in the order of the file, whatever that of the
    words; those that are no ingredients come last.

    Args:
      config: the base recipe.
      arg: the text behind the colon.
      ingredients: word -> settings by flat key; "method" switches to another method.
      others: further ones that are in only where a word names them, such as those that did not help.
      words: the file's further words.

    Raises:
      InputError: for an unknown word or a value that is not one.

    Example:
      >>> from ltjax.methods.configure import new_config
      >>> recipe = {"fast": {"epochs": 5}, "balanced": {"method": "balanced_softmax"}}
      >>> made = with_ingredients(new_config("ce"), "base,balanced", recipe)
      >>> made.method, made.epochs
      ('balanced_softmax', 200)
      >>> made = with_ingredients(new_config("ce"), "no_balanced", recipe)
      >>> made.method, made.epochs
      ('ce', 5)
    """
    known = {**ingredients, **(others or {})}
    switches = {BASE, *known, *(f"{WITHOUT}{name}" for name in known)}
    asked = [word for word in (arg or "").split(",") if word in switches]
    chosen = set() if BASE in asked else set(ingredients)
    for word in asked:
        if word in known:
            chosen.add(word)
        else:
            chosen.discard(word.removeprefix(WITHOUT))
    for name, changes in known.items():
        if name in chosen:
            _put_in(config, changes)
    done: dict[str, Word] = {word: {} for word in (*known, *sorted(switches - {*known}))}
    return with_words(config, arg, done | dict(words or {}))


def _put_in(config: Config, changes: Changes) -> None:
    rest = {key: value for key, value in changes.items() if key != "method"}
    if "method" in changes:
        method_word(changes["method"], rest, any(key.startswith(OF_SECOND_STAGE) for key in rest))(config, "")
    else:
        config.update_from_flattened_dict(rest)
