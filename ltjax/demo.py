"""``python -m ltjax.demo``: serves a page in the browser on which a finished run classifies images."""

import sys

from ltjax.commands.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
