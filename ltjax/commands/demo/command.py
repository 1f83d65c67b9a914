"""Serves a page on which a finished run classifies images.

python -m ltjax.demo --run=runs/mine [--neighbours] [--port=7860]

Drop images on the page: it shows the likeliest classes with their probabilities and their numbers of training
images, and with --neighbours the nearest training images. A form writes the right class of an image into a list
file that training reads, with a copy of the image beside it. The page can be opened on this machine alone, unless
--host says otherwise, and loads nothing from elsewhere. It needs gradio: pip install 'ltjax[page]'. `ltjax demo` is the
same command.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, use_devices
from ltjax.errors import InputError
from ltjax.settings.user_paths import expanded

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def parse(argv: Sequence[str]) -> Any:
    parser = Parser("demo", "ltjax.demo", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument(
        "--neighbours",
        action="store_true",
        help="compute the features of the training images, once, and keep them in the workdir",
    )
    parser.add_argument("--data-dir", help="where the training images are now, if they moved")
    parser.add_argument(
        "--corrections", metavar="FOLDER", help="folder of the list that the form writes; default: RUN/corrections"
    )
    parser.add_argument("--host", default=LOOPBACK[0], help="address to serve; default: this machine alone")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    options = parser.parse_args(argv)
    options.host = options.host.removeprefix("[").removesuffix("]")
    if options.port is not None and not 1 <= options.port <= 65535:
        raise InputError(f"--port: impossible value {options.port}; allowed: 1 to 65535")
    if options.corrections is None and "://" in options.run:
        raise InputError("--corrections is missing: the list and the images are written to a folder of this machine")
    return options


def run(argv: Sequence[str]) -> int:
    options = parse(argv)
    from ltjax.commands.demo.corrections import Corrections
    from ltjax.commands.demo.page import build, check_address, gradio, serve

    gradio()  # a line now is better than one after the network was read
    check_address(options.host, options.port)
    session = open_session(options.run, options.data_dir, options.neighbours)
    folder = expanded(options.corrections or os.path.join(options.run, "corrections"))
    if options.host not in LOOPBACK:
        print(f"note: whoever reaches {escape.terminal(options.host)} can use the page", file=sys.stderr)
    serve(build(session, Corrections(folder, session.model.class_names)), options.host, options.port)
    return 0


def open_session(run: str, data_dir: str | None, neighbours: bool) -> Any:
    """The run, opened for the page (``Session``)."""
    from ltjax.commands.demo.session import Session, training_index
    from ltjax.inference.model import load
    from ltjax.training.finished_run import read_config
    from ltjax.training.prepare import build_data
    from ltjax.training.workdir.identity import absolute
    from ltjax.training.workdir.json_files import read_object
    from ltjax.training.workdir.model_record import read_model_record

    config, folder = read_config(run), absolute(run)
    use_devices(config.dtype)
    model = load(run)
    results, record = read_object(folder / "results.json") or {}, read_model_record(folder)
    config = config.replaced({"data.dir": data_dir} if data_dir else {})
    trained_on = record.train_index_sha256 if record is not None else str(results.get("train_index_sha256"))
    index, lack = training_index(folder, model, trained_on, lambda: build_data(config), neighbours, _report)
    return Session(folder.name, model, results, index, lack)


def _report(line: str) -> None:
    print(escape.terminal(line), file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
