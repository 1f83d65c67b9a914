"""``python -m ltjax.table``: runs and prints a table of results."""

import sys

from ltjax.commands.table import main

if __name__ == "__main__":
    sys.exit(main())
