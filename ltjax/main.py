"""``python -m ltjax.main``: trains, evaluates, resumes and reports."""

import sys

from ltjax.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
