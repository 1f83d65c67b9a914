"""Forward and backward passes of the losses compared with optax and PyTorch, and the memory of graph matching.

    python -m ltjax.bench losses --batch 4096 --classes 8142

optax and PyTorch are measured if they are installed. Milliseconds are the median over repetitions of the compiled loss
with its gradient with respect to the logits; PyTorch runs eagerly with its default number of threads. For
``graph_matching_loss`` the peak is the memory that the compiler allocates: temporaries, arguments and results.
"""

import functools
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import class_counts, losses
from ltjax.commands.cli import Parser

Loss = Callable[[Any], Any]  # logits -> scalar


def inputs(batch: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels and class counts, which decrease exponentially from 1,000 images to 2."""
    rng = np.random.default_rng(0)
    counts = np.maximum(2, (1000 * 500.0 ** (-np.arange(classes) / (classes - 1))).astype(int))
    return rng.normal(size=(batch, classes)).astype(np.float32), rng.integers(0, classes, batch), counts


def of_ltjax(labels: np.ndarray, counts: np.ndarray) -> dict[str, Loss]:
    y = jnp.asarray(labels)
    return {
        "cross_entropy": lambda x: losses.cross_entropy(x, y).mean(),
        "focal_loss": lambda x: losses.focal_loss(x, y).mean(),
        "sigmoid_focal_loss": lambda x: losses.sigmoid_focal_loss(x, y).mean(),
        "balanced_softmax_loss": lambda x: losses.balanced_softmax_loss(x, y, class_counts=counts).mean(),
        "ldam_loss": lambda x: losses.ldam_loss(x, y, class_counts=counts).mean(),
    }


def of_optax(labels: np.ndarray, counts: np.ndarray) -> dict[str, Loss]:
    import optax

    y, log_counts = jnp.asarray(labels), jnp.log(jnp.asarray(counts, jnp.float32))
    margins = jnp.asarray(class_counts.ldam_margins(counts, 0.5), jnp.float32)
    entropy = optax.softmax_cross_entropy_with_integer_labels

    def focal(x: Any) -> Any:
        value = entropy(x, y)
        return ((1 - jnp.exp(-value)) ** 2 * value).mean()

    def sigmoid_focal(x: Any) -> Any:
        return optax.sigmoid_focal_loss(x, jax.nn.one_hot(y, x.shape[-1]), gamma=2.0).sum(-1).mean()

    return {
        "cross_entropy": lambda x: entropy(x, y).mean(),
        "focal_loss": focal,
        "sigmoid_focal_loss": sigmoid_focal,
        "balanced_softmax_loss": lambda x: entropy(x + log_counts, y).mean(),
        "ldam_loss": lambda x: entropy(30.0 * (x - jax.nn.one_hot(y, x.shape[-1]) * margins), y).mean(),
    }


def of_torch(labels: np.ndarray, counts: np.ndarray) -> dict[str, Loss]:
    import torch
    from torch.nn import functional

    y, log_counts = torch.from_numpy(labels), torch.from_numpy(np.log(counts).astype(np.float32))
    margins = torch.from_numpy(class_counts.ldam_margins(counts, 0.5).astype(np.float32))
    one_hot = functional.one_hot(y, len(counts)).float()

    def focal(x: Any) -> Any:
        value = functional.cross_entropy(x, y, reduction="none")
        return ((1 - torch.exp(-value)) ** 2 * value).mean()

    def sigmoid_focal(x: Any) -> Any:
        p = torch.sigmoid(x)
        factor = one_hot * (1 - p) ** 2 + (1 - one_hot) * p**2
        entropy = functional.binary_cross_entropy_with_logits(x, one_hot, reduction="none")
        return (factor * entropy).sum(-1).mean()

    return {
        "cross_entropy": lambda x: functional.cross_entropy(x, y),
        "focal_loss": focal,
        "sigmoid_focal_loss": sigmoid_focal,
        "balanced_softmax_loss": lambda x: functional.cross_entropy(x + log_counts, y),
        "ldam_loss": lambda x: functional.cross_entropy(30.0 * (x - one_hot * margins), y),
    }


def run_jax(loss: Loss, x: np.ndarray) -> Callable[[], float]:
    step, on_device = jax.jit(jax.value_and_grad(loss)), jnp.asarray(x)
    return lambda: float(jax.block_until_ready(step(on_device))[0])


def run_torch(loss: Loss, x: np.ndarray) -> Callable[[], float]:
    import torch

    logits = torch.from_numpy(x).requires_grad_()

    def step() -> float:
        logits.grad = None
        value = loss(logits)
        value.backward()
        return float(value.detach())

    return step


def milliseconds(step: Callable[[], float], repeats: int) -> tuple[float, float]:
    """(median time of a step in ms, its value), after one step for compilation."""
    value, times = step(), []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times), value


def compare(batch: int, classes: int, repeats: int) -> None:
    x, labels, counts = inputs(batch, classes)
    peers = {"ltjax": (of_ltjax, run_jax)}
    if importlib.util.find_spec("optax"):
        peers["optax"] = (of_optax, run_jax)
    if importlib.util.find_spec("torch"):
        peers["torch"] = (of_torch, run_torch)
    print(f"forward + backward, ms: B={batch}, C={classes}, float32, median of {repeats}, on {jax.devices()[0]}")
    print(f"{'':24}" + "".join(f"{name:>10}" for name in peers) + "   largest relative difference of the values")
    for loss in of_ltjax(labels, counts):
        results = [milliseconds(run(make(labels, counts)[loss], x), repeats) for make, run in peers.values()]
        values = [value for _, value in results]
        spread = (max(values) - min(values)) / abs(values[0])
        print(f"{loss:24}" + "".join(f"{ms:10.1f}" for ms, _ in results) + f"   {spread:.0e}", flush=True)


def graph_matching(batch: int, width: int, block_sizes: list[int | None], repeats: int) -> None:
    print(f"graph_matching_loss, forward + backward: B={batch}, d={width}, float32, median of {repeats}")
    old, new = jax.random.normal(jax.random.key(0), (2, batch, width))
    for block_size in block_sizes:

        def loss(new: jax.Array, old: jax.Array, block_size: int | None = block_size) -> jax.Array:
            return losses.graph_matching_loss(old, new, block_size=block_size).mean()

        compiled = jax.jit(jax.value_and_grad(loss)).lower(new, old).compile()
        planned: Any = compiled.memory_analysis()
        peak = planned.temp_size_in_bytes + planned.argument_size_in_bytes + planned.output_size_in_bytes
        step = functools.partial(lambda run: float(jax.block_until_ready(run(new, old))[0]), compiled)
        ms, value = milliseconds(step, repeats)
        print(
            f"block_size {block_size!s:>6}: {ms:10.1f} ms, peak {peak / 2**20:8.0f} MiB, mean mu {value:.6f}",
            flush=True,
        )


def main(arguments: list[str]) -> None:
    """Parses the options and prints both tables."""
    parser = Parser("bench losses", "ltjax.bench losses", __doc__)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--classes", type=int, default=8142)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--graph-batch", type=int, default=16384)
    parser.add_argument("--graph-width", type=int, default=512)
    parser.add_argument(
        "--block-sizes",
        type=int,
        nargs="*",
        default=[256, 1024, 0],
        help="block sizes of graph matching; 0 = without blocks",
    )
    options = parser.parse_args(arguments)
    compare(options.batch, options.classes, options.repeats)
    if options.graph_batch:
        blocks = [size or None for size in options.block_sizes]
        graph_matching(options.graph_batch, options.graph_width, blocks, min(options.repeats, 3))
