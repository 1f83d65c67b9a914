"""``python -m ltjax.data.prepare_tfds``: prepares a data set for TFDS without TensorFlow."""

import sys

from ltjax.commands.prepare.tfds import main

if __name__ == "__main__":
    sys.exit(main())
