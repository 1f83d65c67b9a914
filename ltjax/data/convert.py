"""``python -m ltjax.data.convert``: writes a CIFAR .npz file from arrays."""

import sys

from ltjax.commands.prepare.cifar_npz import main

if __name__ == "__main__":
    sys.exit(main())
