"""The config files, by the words of their names."""

from ltjax.methods import configure
from ltjax.settings import command_line
from ltjax.settings.identity import SHORT_NAMES

DATASETS = ("mnist5k", "cifar10", "cifar100", "imagenet", "places", "inat", "folder", "list")
BENCHMARKS = DATASETS[:6]
FAMILIES = ("ce", "reslt", "decoupling", "asynchronous", "auxiliary", "baselines", "recent")


def build(dataset, family, words=None):
    """The ConfigDict of configs/<dataset>_<family>.py with these words after the colon."""
    return command_line.load(f"configs/{dataset}_{family}.py" + (f":{words}" if words else ""))


def resolved(dataset, family, words=None):
    """The same as typed settings."""
    return configure.resolve(build(dataset, family, words))


def parse(*arguments):
    """The settings of a command line without --workdir."""
    return configure.from_command_line([*arguments, "--workdir=w"])[0]


def file_of(recipe):
    """The first word of the names of a data set's config files."""
    return SHORT_NAMES.get(recipe, recipe)
