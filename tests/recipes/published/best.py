"""The recipes of ingredients, ``configs/*_best.py``: nobody has published them; each part says where it comes from."""

from tests.recipes.table import Part, Recipe, Tables, recipe

BALANCED: Part = {"Ren et al. (2020), balanced softmax": {"method": "balanced_softmax"}}
RANDAUGMENT: Part = {"ours: not measured": {"data.augment": "crop224_flip_randaugment"}}
CIFAR: dict[str, Part] = {
    "balanced": BALANCED,
    "cosine_schedule": {
        "Cui et al. (2022), authors' code, but cosine per step": {
            "optimizer.nesterov": True,
            "optimizer.weight_decay": 5e-4,
            "optimizer.schedule.name": "cosine",
            "optimizer.schedule.unit": "step",
        }
    },
    "autoaugment": {"Cubuk et al. (2019), section 4.1": {"data.augment": "autoaugment_flip"}},
}
# data set -> what is in without a word, and what only a word puts in
INGREDIENTS: dict[str, dict[str, Part]] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": {"balanced": BALANCED},
    "places": {"balanced": BALANCED},
    "inat": {"balanced": BALANCED},
    "mnist5k": {"balanced": BALANCED},
}
OTHERS: dict[str, dict[str, Part]] = {
    "cifar10": {},
    "cifar100": {},
    "imagenet": {"randaugment": RANDAUGMENT},
    "places": {"randaugment": RANDAUGMENT},
    "inat": {"randaugment": RANDAUGMENT},
    "mnist5k": {},
}


def tables(dataset: str, base: Recipe) -> Tables:
    """Of configs/<dataset>_best.py, of its base, and of the base with each ingredient.

    Args:
      dataset: the first word of the file's name.
      base: the recipe that the file starts from, without a method.
    """
    stem, words = f"{dataset}_best", INGREDIENTS[dataset]
    plain = recipe(base, {"the name of the config file": {"method": "ce", "family": "best"}})
    each = {f"{stem}:base,{word}": recipe(plain, part) for word, part in (words | OTHERS[dataset]).items()}
    return {stem: recipe(plain, *words.values()), f"{stem}:base": plain, **each}
