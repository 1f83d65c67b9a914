"""``python -m ltjax.tune``: searches over settings on held-out training images."""

import sys

from ltjax.commands.tune.command import main

if __name__ == "__main__":
    sys.exit(main())
