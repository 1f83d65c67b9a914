"""``python -m ltjax.compare``: compares finished runs."""

import sys

from ltjax.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
