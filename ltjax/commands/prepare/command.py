"""Prepares images for training: shards, an .npz file of CIFAR, or a TFDS data set.

    ltjax prepare shards ...       ArrayRecord shards of the user's images   (python -m ltjax.data.prepare)
    ltjax prepare cifar-npz ...    CIFAR arrays as one .npz file             (python -m ltjax.data.convert)
    ltjax prepare tfds ...         a data set for TFDS, without TensorFlow   (python -m ltjax.data.prepare_tfds)

Each has a --help of its own. Without one of the three words, the options are those of shards.
"""

import importlib
import sys
from collections.abc import Sequence

from ltjax.errors import did_you_mean

KINDS = {
    "shards": "ltjax.commands.prepare.shards",
    "cifar-npz": "ltjax.commands.prepare.cifar_npz",
    "tfds": "ltjax.commands.prepare.tfds",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what the first argument names; returns its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("--help", "-h"):
        print(__doc__)
        return 0
    kind, arguments = (given[0], given[1:]) if not given[0].startswith("-") else ("shards", given)
    if kind not in KINDS:
        print(
            f"error: ltjax prepare: unknown '{kind}'{did_you_mean(kind, KINDS)}; allowed: {', '.join(KINDS)}",
            file=sys.stderr,
        )
        return 2
    return importlib.import_module(KINDS[kind]).main(arguments)


if __name__ == "__main__":
    sys.exit(main())
