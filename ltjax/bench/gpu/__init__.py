"""All that a GPU is borrowed for, in one command: each variant in a process of its own, with a time limit.

    python -m ltjax.bench gpu --seconds 400 --json gpu.json
    python -m ltjax.bench gpu --part 2 --seconds 400 --json gpu-2.json

The first part checks CUDA graphs and measures the program of training by variants and one whole run; the second
measures several seeds, a profile, and PyTorch. The most valuable come first. The JSON file is complete after each
variant, so that a command cut short leaves what it had. A variant that fails is one line, and the next one starts.

jax, flax, optax and numpy are enough; the whole run also needs orbax-checkpoint, the comparisons PyTorch. Without
--data-dir the images are random: times hold, accuracies mean nothing and are left out.
"""

from ltjax.bench.gpu.driver import main

__all__ = ["main"]
