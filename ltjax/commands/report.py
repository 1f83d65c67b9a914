"""Makes the report of a finished run again: report/report.html, one page with everything, and report/report.md.

python -m ltjax.report --run=runs/mnist5k_reslt [--tsne] [--grad-cam] [--data-dir=DIR]

Every run ends with its report; this makes it again from the workdir alone, as after an update of ltjax. --tsne adds the
feature map, --grad-cam adds to each picture where the predicted class sees its evidence. Both read test images of the
run again. They stay in the report until the run is trained again. `ltjax report` is the same command.
"""

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, is_first_process, use_devices
from ltjax.errors import InputError

AT_ONCE = 8  # images


def run(argv: Sequence[str]) -> int:
    parser = Parser("report", "ltjax.report", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument("--tsne", action="store_true", help="the feature map; needs scikit-learn: ltjax[tsne]")
    parser.add_argument("--grad-cam", action="store_true", help="where the network looks in the pictures")
    parser.add_argument("--data-dir", help="where the data is now, if it was moved after training")
    options = parser.parse_args(argv)
    from ltjax.training.workdir.identity import absolute

    folder = absolute(options.run)
    if options.tsne or options.grad_cam:
        _add(options, folder)
    from ltjax.report import PAGE, write_report

    if not (options.tsne or options.grad_cam) or is_first_process():
        report = write_report(folder)
        print(f"report: {escape.terminal(str(report.parent / PAGE))}")
    return 0


def _add(options: Any, folder: Any) -> None:
    """Computes what was asked for, and writes it into the folder of the report."""
    from ltjax.commands.tsne import check_installed
    from ltjax.training.finished_run import open_finished, read_config

    if options.tsne:
        check_installed()
    use_devices(read_config(options.run).dtype)
    from ltjax.report.run import FEATURES, HEAT, read_run

    changes = {"data.dir": options.data_dir} if options.data_dir else {}
    finished, shown = open_finished(options.run, changes), read_run(folder)
    if options.tsne:
        _write(folder, FEATURES, lambda: _feature_map(finished, shown))
    if options.grad_cam:
        _write(folder, HEAT, lambda: {"heat": _heat(finished, shown)})


def _write(folder: Any, name: str, make: Callable[[], dict[str, np.ndarray]]) -> None:
    from ltjax.report import replace_file

    arrays, buffer = make(), io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    if is_first_process():
        (folder / "report").mkdir(parents=True, exist_ok=True)
        replace_file(folder / "report" / name, buffer.getvalue())


def _feature_map(finished: Any, shown: Any) -> dict[str, np.ndarray]:
    from ltjax.commands.tsne import embedded, features_of
    from ltjax.report.compare.feature_map import chosen_classes
    from ltjax.report.run import group_sizes

    chosen = chosen_classes(shown.results["class_counts"], group_sizes(shown.results))
    features, classes = features_of(finished, chosen)
    return {"points": embedded(features), "classes": classes}


def _heat(finished: Any, shown: Any) -> np.ndarray:
    """uint8 [n, H, W, 3]: the gallery's pictures under the evidence for what they are taken for; of the first seed."""
    from ltjax.training.execution.seeds import split_seeds
    from ltjax.training.grad_cam import grad_cam
    from ltjax.training.workdir.predictions import thumbnails

    gallery = shown.gallery
    if gallery is None:
        raise InputError(
            f"--grad-cam: {finished.results['method']} run without gallery.npz; remove its results.json and run its "
            "training command again, which evaluates it again"
        )
    variables = split_seeds(finished.variables, finished.config.num_seeds)[0]
    heated = []
    for begin in range(0, len(gallery.record), AT_ONCE):
        places = np.arange(begin, begin + AT_ONCE) % len(gallery.record)  # always as many: one program is compiled
        images = finished.data.test.images(gallery.record[places])
        heat = grad_cam(finished.stage.predict, variables, images, gallery.prediction[places].clip(0))
        heated.append(overlay(images, heat))
    return thumbnails(np.concatenate(heated)[: len(gallery.record)])


def overlay(images: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """uint8 [n, H, W, 1 or 3] in grey, under heat float [n, H, W] in 0..1: uint8 [n, H, W, 3]."""
    from ltjax.report.style import heat_colours

    colours = heat_colours(heat)
    grey = images.mean(-1, keepdims=True) / 255
    return np.round(255 * (0.45 * grey + 0.55 * colours)).astype(np.uint8)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
