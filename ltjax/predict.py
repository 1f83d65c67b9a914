"""``python -m ltjax.predict``: predicts the classes of images with a finished run."""

import sys

from ltjax.commands.predict import main

if __name__ == "__main__":
    sys.exit(main())
