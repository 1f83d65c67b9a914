"""``python -m ltjax.report``: makes the report of a finished run again, with more if asked for."""

import sys

from ltjax.commands.report import main

if __name__ == "__main__":
    sys.exit(main())
