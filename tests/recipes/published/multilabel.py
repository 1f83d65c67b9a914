"""The losses of images with several labels; of configs/list_multilabel.py the rest is that of list_ce.py."""

from tests.recipes.table import Part, Recipe, Tables, named, recipe, with_words

COCO = "Wu et al. (2020), section 4.1 and authors' config of COCO-LT"
DEFAULTS: dict[str, Part] = {
    "bce": {"binary cross-entropy": {"multilabel.gamma": 0.0}},
    "cb_bce": {
        "Wu et al. (2020), authors' code of what they compare with": {"multilabel.beta": 0.9, "multilabel.gamma": 2.0}
    },
    "distribution_balanced": {
        COCO: {
            "multilabel.alpha": 0.1,
            "multilabel.beta": 10.0,
            "multilabel.mu": 0.2,
            "multilabel.negative_scale": 2.0,
            "multilabel.bias_scale": 0.05,
            "multilabel.gamma": 2.0,
        }
    },
    "asymmetric": {
        "Ridnik et al. (2021), section 3": {
            "multilabel.gamma_positive": 0.0,
            "multilabel.gamma_negative": 4.0,
            "multilabel.clip": 0.05,
        }
    },
}


def tables(base: Recipe, fine_tuned: Part) -> Tables:
    """Of configs/list_multilabel.py and its words.

    Args:
      base: the recipe of the user's images from lists, without a method.
      fine_tuned: what the word ``pretrained`` changes.
    """
    of_lists: Part = {"configs/list_multilabel.py": {"data.name": "multilabel_list"}}

    def of(method: str) -> Recipe:
        return recipe(base, of_lists, named(method, "multilabel"), DEFAULTS[method])

    made = with_words("list_multilabel", of("distribution_balanced"), {"pretrained=w.npz": fine_tuned})
    return made | {f"list_multilabel:{method}": of(method) for method in DEFAULTS}
