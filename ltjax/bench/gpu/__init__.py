"""The benchmark of a borrowed GPU: the variants, what they measure, and the command that runs them."""

from ltjax.bench.gpu.driver import main

__all__ = ["main"]
