"""Names the class of pictures: a finished run's network on any files or folders.

python -m ltjax.predict --run=runs/mine PICTURE_OR_FOLDER ... [--out=predictions.csv] [--top=3]

Every picture is resized and cropped as the run's test images were. A line a picture: its path, the likeliest class, its
probability in %, then the next classes; --out writes the same as CSV, with probabilities from 0 to 1. Files in folders
that are no pictures by their names are left out and counted. A picture that cannot be read ends the command, with
--on-error=skip it is named, counted and left out. The probabilities of a run of several seeds are the mean of its
networks'. --data-dir: where the run's training data lies now.
"""

import csv
import io
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ltjax.commands.cli import Parser, guarded, is_first_process, use_devices
from ltjax.errors import InputError


class Prediction(NamedTuple):
    """What is said of a picture: its path, the likeliest labels, their probabilities."""

    path: str
    labels: list[int]
    probabilities: list[float]


def parse(argv: Sequence[str]) -> Any:
    parser = Parser("predict", "ltjax.predict", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument("pictures", nargs="+", help="files, or folders of them (with the folders inside)")
    parser.add_argument("--out", metavar="FILE", help="write a CSV file there instead of lines")
    parser.add_argument("--top", type=int, default=3, help="classes of each picture")
    parser.add_argument("--on-error", choices=("stop", "skip"), default="stop", help="when a picture cannot be read")
    parser.add_argument("--data-dir", help="where the training data lies now, if not where it was")
    parser.add_argument("--batch-size", type=int, help="pictures at a time; default: that of the run's evaluation")
    options = parser.parse_args(argv)
    for name in ("top", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')}: impossible value {value}; allowed: an integer >= 1")
    folder = pathlib.Path(options.out or "x").absolute().parent
    if not folder.is_dir():
        raise InputError(f"--out: the folder '{folder}' is not there; make it")
    return options


def run(argv: Sequence[str]) -> int:
    options = parse(argv)
    paths, left_out = find_pictures(options.pictures)
    if left_out:
        print(f"{left_out} files are no pictures by their names and left out", file=sys.stderr)

    from ltjax.data.storage.paths import write_atomically
    from ltjax.training.finished_run import open_finished, read_config
    from ltjax.training.workdir.identity import absolute

    use_devices(read_config(options.run).dtype)
    changes = {"data.dir": options.data_dir, "evaluation.batch_size": options.batch_size}
    finished = open_finished(options.run, {key: value for key, value in changes.items() if value is not None})
    names = finished.data.class_names or tuple(str(label) for label in range(finished.data.num_classes))
    skipped: list[str] = []
    top = min(options.top, len(names))
    found = predictions(finished, paths, top, skipped if options.on_error == "skip" else None)
    if options.out:
        rows = list(found)
        if is_first_process():
            write_atomically(absolute(options.out), as_csv(rows, names, top))
            print(f"{len(rows)} pictures: {options.out}")
    else:
        for one in found:
            shares = zip(one.labels, one.probabilities, strict=True)
            if is_first_process():
                print(one.path, *(f"{names[label]} {100 * share:.1f}" for label, share in shares), sep="\t")
    if skipped:
        print(f"{len(skipped)} of {len(paths)} pictures could not be read and are left out", file=sys.stderr)
    return 0


def find_pictures(given: Sequence[str]) -> tuple[list[str], int]:
    """The files, as they are given, and of folders all pictures in them, sorted; and how many others lie there.

    Raises:
      InputError: for a path that is not there, or if there is no picture.
    """
    from ltjax.data.storage.image_folder import IMAGES, images_in

    paths: list[str] = []
    strays: Counter = Counter()
    for one in given:
        if os.path.isfile(one):
            paths.append(one)
        elif os.path.isdir(one):
            paths += [os.path.join(one, name) for name in images_in(one, "", strays)]
        else:
            raise InputError(f"'{one}': no such file or folder")
    if not paths:
        raise InputError(f"{', '.join(given)}: no picture there ({', '.join(IMAGES)})")
    return paths, strays.total()


def predictions(finished: Any, paths: Sequence[str], top: int, skipped: list[str] | None) -> Iterator[Prediction]:
    """One for each picture, in order.

    Args:
      finished: a run (``ltjax.training.finished_run``).
      paths: of picture files.
      top: classes of each, the likeliest first.
      skipped: takes the paths that cannot be read, each said on stderr; None: the first is an error.
    """
    import numpy as np

    from ltjax.training.evaluation import rows_at_once
    from ltjax.training.execution import mesh as meshes

    read = reader(finished.config, finished.data, paths)
    size = rows_at_once(min(finished.config.evaluation.batch_size, len(paths)), finished.mesh)
    probabilities = make_probabilities(finished)
    with ThreadPoolExecutor() as pool:
        for begin in range(0, len(paths), size):
            own, images = [], []
            for path, image in zip(
                paths[begin : begin + size], pool.map(read, range(begin, len(paths))[:size]), strict=True
            ):
                if isinstance(image, InputError):
                    if skipped is None:
                        raise image
                    print(f"left out: {image}", file=sys.stderr)
                    skipped.append(path)
                else:
                    own.append(path)
                    images.append(image)
            if not images:
                continue
            batch = np.zeros((size, *images[0].shape), np.uint8)  # of one shape, so that one program does it
            batch[: len(images)] = images
            shares = np.asarray(probabilities(finished.variables, meshes.put_replicated(batch, finished.mesh)))
            order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
            for row, path in enumerate(own):
                yield Prediction(path, order[row].tolist(), shares[row, order[row]].tolist())


def reader(config: Any, data: Any, paths: Sequence[str]) -> Any:
    """number -> uint8 [H, W, C], the picture as the run's test images are seen, or why it cannot be read.

    A set of pictures has its own resize and crop; of one of small images (CIFAR, MNIST) the size is taken for both, and
    grey where its images are.
    """
    import numpy as np

    from ltjax.data.datasets.assemble import EvaluationView
    from ltjax.data.storage.image_files import ImageFiles
    from ltjax.data.storage.packed_names import PackedNames

    files = ImageFiles("", PackedNames.of([os.path.abspath(path) for path in paths]))
    height, width, channels = data.image_shape
    own = data.test.encoded is not None
    view = EvaluationView(files, config.data.image_size if own else height, config.data.resize if own else height)
    assert height == width

    def read(number: int) -> np.ndarray | InputError:
        try:
            pixels = view(number)
        except Exception as error:
            said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}".splitlines()[0]
            return InputError(f"{paths[number]} cannot be read: {said}")
        if channels == 3:
            return pixels
        return np.round(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]  # ITU-R BT.601 luma

    return read


def make_probabilities(finished: Any) -> Any:
    """(variables, images uint8 [B, H, W, C]) -> float [B, C]: softmax of the logits, the mean over seeds."""
    import jax

    from ltjax.training.execution import mesh as meshes
    from ltjax.training.execution.seeds import over_seeds, seed_axis

    axis = seed_axis(finished.config, meshes.platform(finished.mesh))
    predict = over_seeds(
        lambda variables, images: jax.nn.softmax(finished.stage.predict(variables, images)), axis, (0, None)
    )

    def mean(variables: Any, images: Any) -> Any:
        shares = predict(variables, jax.lax.with_sharding_constraint(images, meshes.split(finished.mesh)))
        return shares if axis[0] == 1 else shares.mean(0)

    return jax.jit(mean, out_shardings=meshes.replicated(finished.mesh))


def as_csv(found: Sequence[Prediction], names: Sequence[str], top: int) -> str:
    """A table: path, class_1, probability_1, class_2, ..."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", *(word for k in range(1, top + 1) for word in (f"class_{k}", f"probability_{k}"))])
    for one in found:
        shares = zip(one.labels, one.probabilities, strict=True)
        table.writerow([one.path, *(word for label, share in shares for word in (names[label], f"{share:.6f}"))])
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
