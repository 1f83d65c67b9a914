"""Classifies images with a finished run: any files or folders.

python -m ltjax.predict --run=runs/mine IMAGE_OR_FOLDER ... [--out=predictions.csv] [--top=3]

The workdir alone is needed, not the training data. Every image is resized and cropped as the test images of the run
were. Each line has the path, the likeliest class, its probability in %, then the next classes; --out writes the same as
CSV, with probabilities from 0 to 1, row after row into FILE.partial, which becomes FILE at the end. In folders, files
whose names are not those of images are counted and left out. An image that cannot be read ends the command; with
--on-error=skip it is reported, counted and left out. With several seeds, probabilities are averaged over the networks.
`ltjax predict` is the same command.
"""

import csv
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, is_first_process, use_devices
from ltjax.errors import InputError
from ltjax.settings.user_paths import expanded, looked_for


class Prediction(NamedTuple):
    """The path of an image, its likeliest labels, and their probabilities."""

    path: str
    labels: list[int]
    probabilities: list[float]


def parse(argv: Sequence[str]) -> Any:
    parser = Parser("predict", "ltjax.predict", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE_OR_FOLDER",
        help="files, or folders with their subfolders",
    )
    parser.add_argument("--out", metavar="FILE", help="write a CSV file instead of printing")
    parser.add_argument("--top", type=int, default=3, help="classes to print for each image")
    parser.add_argument("--on-error", choices=("stop", "skip"), default="stop", help="for unreadable images")
    parser.add_argument("--data-dir", help="where the data is now; for runs of earlier versions alone, which need it")
    parser.add_argument("--batch-size", type=int, help="images of a batch; default: that of the run's evaluation")
    options = parser.parse_args(argv)
    for name in ("top", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')}: impossible value {value}; allowed: an integer >= 1")
    options.out = options.out and expanded(options.out)
    folder = pathlib.Path(options.out or "x").absolute().parent
    if not folder.is_dir():
        raise InputError(f"--out: no folder '{folder}'; create it")
    return options


def run(argv: Sequence[str]) -> int:
    options = parse(argv)
    paths, left_out = find_images(options.images)
    if left_out:
        print(escape.terminal(f"left out {left_out}"), file=sys.stderr)

    from ltjax.training.finished_run import open_model, read_config

    use_devices(read_config(options.run).dtype)
    changes = {"data.dir": options.data_dir, "evaluation.batch_size": options.batch_size}
    finished = open_model(options.run, {key: value for key, value in changes.items() if value is not None})
    class_names = finished.model.names
    shown = [escape.terminal(name) for name in escape.distinct(class_names)]
    skipped: list[str] = []
    top = min(options.top, len(class_names))
    predicted = predict(finished, paths, top, skipped if options.on_error == "skip" else None)
    if options.out:
        written = write_csv(options.out, predicted, class_names, top)
        if is_first_process():
            print(f"{written} images: {escape.terminal(options.out)}")
    else:
        for one in predicted:
            shares = zip(one.labels, one.probabilities, strict=True)
            if is_first_process():
                words = (f"{shown[label]} {100 * share:.1f}" for label, share in shares)
                print(escape.terminal(one.path), *words, sep="\t")
    if skipped:
        print(f"left out {len(skipped)} of {len(paths)} images, which could not be read", file=sys.stderr)
    return 0


def find_images(given: Sequence[str]) -> tuple[list[str], str]:
    """The files as they are given and all images in the folders, sorted; and what else is there, "" if nothing.

    Raises:
      InputError: for a path that does not exist, or if there is no image.
    """
    from ltjax.data import image_formats
    from ltjax.data.storage.image_folder import images_in

    paths: list[str] = []
    strays: Counter = Counter()
    for one in map(expanded, given):
        if os.path.isfile(one):
            paths.append(one)
        elif os.path.isdir(one):
            paths += [os.path.join(one, name) for name in images_in(one, "", strays)]
        else:
            raise InputError(f"'{one}': no such file or folder{looked_for(one)}")
    unread = image_formats.unread(strays)
    if not paths:
        endings = ", ".join(image_formats.endings())
        there = f"; not read: {unread}" if unread else ""
        raise InputError(f"{', '.join(given)}: contains no image ({endings}){there}; choose another folder")
    others = f"{strays.total()} files whose names are not those of images that are read" if strays else ""
    return paths, others + (f": {unread}" if unread else "")


def predict(finished: Any, paths: Sequence[str], top: int, skipped: list[str] | None) -> Iterator[Prediction]:
    """A prediction for each image, in order.

    Args:
      finished: a run (``ltjax.training.finished_run``).
      paths: of image files.
      top: classes of each image, the likeliest first.
      skipped: collects the paths that cannot be read, each reported on stderr; None: the first one is an error.
    """
    import numpy as np

    from ltjax.training.evaluation import rows_at_once
    from ltjax.training.execution import mesh as meshes
    from ltjax.training.out_of_memory import naming

    read = reader(finished.model, paths)
    size = rows_at_once(min(finished.config.evaluation.batch_size, len(paths)), finished.mesh)
    probabilities = make_probabilities(finished)
    with ThreadPoolExecutor() as pool:
        for begin in range(0, len(paths), size):
            read_paths, images = [], []
            for path, image in zip(
                paths[begin : begin + size], pool.map(read, range(begin, len(paths))[:size]), strict=True
            ):
                if isinstance(image, InputError):
                    if skipped is None:
                        raise image
                    print(f"left out: {escape.terminal(str(image))}", file=sys.stderr)
                    skipped.append(path)
                else:
                    read_paths.append(path)
                    images.append(image)
            if not images:
                continue
            batch = np.zeros((size, *images[0].shape), np.uint8)  # of one shape, so that one program is compiled
            batch[: len(images)] = images
            with naming("in prediction", f"lower --batch-size (now {size})"):
                shares = np.asarray(probabilities(finished.variables, meshes.put_replicated(batch, finished.mesh)))
            if not np.isfinite(shares[: len(images)]).all():
                first = read_paths[int(np.argmin(np.isfinite(shares[: len(images)]).all(axis=1)))]
                raise FloatingPointError(
                    f"{first}: the network's logits are not finite, so its training diverged; train it again "
                    "with a smaller config.optimizer.learning_rate"
                )
            order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
            for row, path in enumerate(read_paths):
                yield Prediction(path, order[row].tolist(), shares[row, order[row]].tolist())


def reader(model: Any, paths: Sequence[str]) -> Any:
    """number -> uint8 [H, W, C], the image resized and cropped as the run's test images, or why it cannot be read.

    It becomes grey where those of the data set (``model``, a ``ModelRecord``) are.
    """
    import numpy as np

    from ltjax.data.datasets.assemble import EvaluationView
    from ltjax.data.storage.image_files import ImageFiles
    from ltjax.data.storage.packed_names import PackedNames

    files = ImageFiles("", PackedNames.of([os.path.abspath(path) for path in paths]))
    height, width, channels = model.image_shape
    view = EvaluationView(files, height, model.resize)
    assert height == width

    def read(number: int) -> np.ndarray | InputError:
        try:
            pixels = view(number)
        except Exception as error:
            known = isinstance(error, InputError)
            reason = str(error) if known else f"{type(error).__name__}: {error}".splitlines()[0]
            return InputError(f"{paths[number]} cannot be read: {reason}")
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


def write_csv(out: str, predictions: Iterator[Prediction], class_names: Sequence[str], top: int) -> int:
    """Writes a CSV file, path, class_1, probability_1, class_2, ..., and returns the number of its rows.

    The names are written by ``escape.csv_cell``. Rows go into OUT.partial, which becomes OUT when all are there: what
    was predicted is kept if the command ends early. Only the first process writes.
    """
    from ltjax.training.workdir.identity import absolute

    path, names = absolute(out), [escape.csv_cell(str(name)) for name in class_names]
    partial = path.parent / f"{path.name}.partial"
    first, rows, done = is_first_process(), 0, False
    with partial.open("w", encoding="utf-8") if first else open(os.devnull, "w") as file:
        table = csv.writer(file, lineterminator="\n")
        try:
            table.writerow(["path", *(word for k in range(1, top + 1) for word in (f"class_{k}", f"probability_{k}"))])
            for one in predictions:
                shares = zip(one.labels, one.probabilities, strict=True)
                words = (word for label, share in shares for word in (names[label], f"{share:.6f}"))
                table.writerow([escape.csv_cell(one.path), *words])
                file.flush()
                rows += 1
            done = True
        finally:
            if not done and first and rows:
                print(f"the {rows} images before are in {escape.terminal(str(partial))}", file=sys.stderr)
            elif not done and first:
                partial.unlink(missing_ok=True)
    if first:
        partial.replace(path)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
