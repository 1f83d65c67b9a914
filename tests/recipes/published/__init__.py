"""The published recipes: for every config file, and every word that changes a recipe, all settings with their source.

Written from the papers and from what their authors' public code does, not from the config files. "ours" marks what
nobody published, with the reason.
"""

from tests.recipes.published import cifar, imagenet, inat, lift, places, small

TABLES = {
    **cifar.tables("cifar10"),
    **cifar.tables("cifar100"),
    **imagenet.tables(),
    **places.tables(),
    **inat.tables(),
    **small.tables(),
    **lift.tables(),
}
