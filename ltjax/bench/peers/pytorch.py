"""Whether PyTorch can run beside JAX here, its memory, and products without TF32 for the checks."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ltjax.bench.measure import torch_installed


def unavailable(platform: str) -> str:
    """Why there is nothing to compare with on JAX's ``platform``; "" where there is."""
    if not torch_installed():
        return "PyTorch is not installed: only ltjax is measured"
    import torch

    if platform == "cpu" or (platform == "gpu" and torch.cuda.is_available()):
        return ""
    return f"PyTorch cannot use the {platform} here: only ltjax is measured"


def most_held() -> int | None:
    """The most bytes that PyTorch's allocator has held on the GPU since it was asked last; None without one."""
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
    """For the checks: float32 products in float32 on both sides, where an accelerator would round them to TF32."""
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
