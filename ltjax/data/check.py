"""``python -m ltjax.data.check``: checks a data set before a long run."""

import sys

from ltjax.commands.check.command import main

if __name__ == "__main__":
    sys.exit(main())
