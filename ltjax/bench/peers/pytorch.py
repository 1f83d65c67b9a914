"""Whether PyTorch can be measured here, its peak memory, and exact float32 products for the checks."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ltjax.bench.measure import torch_installed


def unavailable(platform: str) -> str:
    """Why PyTorch cannot be measured on JAX's ``platform``; "" if it can."""
    if not torch_installed():
        return "PyTorch is not installed: only ltjax is measured"
    import torch

    if platform == "cpu" or (platform == "gpu" and torch.cuda.is_available()):
        return ""
    return f"PyTorch cannot use the {platform} here: only ltjax is measured"


def peak_memory() -> int | None:
    """The maximum of bytes that PyTorch's allocator held on the GPU since the last call; None without a GPU."""
    if not torch_installed():
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    most = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return most


@contextlib.contextmanager
def exact(platform: str) -> Iterator[None]:
    """Computes float32 products exactly on both sides, which accelerators otherwise round to TF32 or bfloat16."""
    if platform == "cpu":
        yield
        return
    import jax

    settings: tuple[Any, ...] = ()
    if torch_installed():
        import torch

        settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [s.allow_tf32 for s in settings]
    try:
        for s in settings:
            s.allow_tf32 = False
        with jax.default_matmul_precision("highest"):
            yield
    finally:
        for s, value in zip(settings, before, strict=True):
            s.allow_tf32 = value
