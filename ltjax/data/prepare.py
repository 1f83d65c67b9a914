"""``python -m ltjax.data.prepare``: packs images into shards."""

import sys

from ltjax.commands.prepare.shards import main

if __name__ == "__main__":
    sys.exit(main())
