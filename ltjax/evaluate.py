"""``python -m ltjax.evaluate``: evaluates a finished run."""

import sys

from ltjax.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
