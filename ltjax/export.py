"""``python -m ltjax.export``: exports a finished run as safetensors, StableHLO and ONNX, with a model card."""

import sys

from ltjax.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
