"""The recipes of ingredients, ``configs/*_best.py``: nobody has published them; each part says where it comes from."""

from tests.recipes.table import Part, Recipe, Tables, recipe

BALANCED: Part = {"Menon et al. (2021), equation 10; tau = 1: Ren et al. (2020)": {"loss.tau": 1.0}}
COSINE_SCHEDULE: Part = {
    "Cui et al. (2022), authors' code, but cosine per step": {
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "step",
    }
}
# data set -> what is in without a word
CIFAR: dict[str, Part] = {
    "balanced": BALANCED,
    "cosine_schedule": COSINE_SCHEDULE,
    "autoaugment": {"Cubuk et al. (2019), section 4.1": {"data.augment": "autoaugment_flip"}},
}
INGREDIENTS: dict[str, dict[str, Part]] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "imagenet": {"balanced": BALANCED},
    "places": {"balanced": BALANCED},
    "inat": {"balanced": BALANCED},
    "mnist5k": {"balanced": BALANCED},
}
# what only a word puts in
ANY: dict[str, Part] = {
    "cosine_head": {"a cosine classifier": {"model.head": "cosine"}},
    "mixup": {"Zhang et al. (2018): a uniform share": {"mix.name": "mixup"}},
    "remix": {"Chou et al. (2020)": {"mix.name": "remix"}},
    "smoothing": {"Szegedy et al. (2016), section 7": {"loss.label_smoothing": 0.1}},
    "average": {"ours: a window of a thousand steps": {"optimizer.ema_decay": 0.999}},
    "sam": {"Foret et al. (2021), on CIFAR": {"optimizer.sam_rho": 0.05}},
    "drop_path": {"ours: a fifth of the rate of Huang et al. (2016) for deep networks": {"model.drop_path": 0.1}},
}
CUTMIX: dict[str, Part] = {"cutmix": {"Yun et al. (2019): a uniform share": {"mix.name": "cutmix"}}}
LARGE = ANY | CUTMIX | {"randaugment": {"Cubuk et al. (2020)": {"data.augment": "crop224_flip_randaugment"}}}
SMALL = ANY | CUTMIX | {
    "cutout": {"DeVries and Taylor (2017)": {"data.augment": "pad_crop_flip_cutout"}},
    "randaugment": {"Cubuk et al. (2020), and cutout": {"data.augment": "randaugment_flip_cutout"}},
}  # fmt: skip
OTHERS: dict[str, dict[str, Part]] = {
    "cifar10": SMALL,
    "cifar100": SMALL,
    "imagenet": LARGE,
    "places": LARGE,
    "inat": LARGE,
    "mnist5k": ANY,
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
