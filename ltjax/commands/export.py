"""Exports a finished run: its model in files that work without ltjax, with a model card.

python -m ltjax.export --run=runs/mine --out=exported [--format=safetensors,stablehlo,onnx]
    [--temperature=run|none|NUMBER] [--logit-adjustment=TAU | --test-prior=uniform|train|FILE]
    [--input=uint8|normalised] [--push=OWNER/NAME [--private]]

Writes into the new folder --out: model.safetensors (PyTorch's layout; torchvision's names where the backbone is
torchvision's), model.stablehlo (a program for jax.export.deserialize on CPU, CUDA and TPU), model.onnx (on request, for
ONNX Runtime), model.json (class names, preprocessing) and README.md, the model card. The workdir alone is needed. The
programs take any number of images and return logits and probabilities. With --input=uint8 (the default) they normalise
the pixels themselves. Temperature, logit adjustment and prior are those of `ltjax predict`, and part of the files.
--push uploads the folder to a model hub after it is written; nothing is uploaded without it.
"""

import json
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, is_first_process, use_devices
from ltjax.errors import InputError, choose
from ltjax.settings.user_paths import expanded

DEFAULT = "safetensors,stablehlo"


def parse(argv: Sequence[str]) -> Any:
    from ltjax.commands.adjustment import ESTIMATE, add_flags, check_flags
    from ltjax.inference.formats import WRITERS, needs
    from ltjax.inference.hub import check_repository

    parser = Parser("export", "ltjax.export", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--format", default=DEFAULT, help=f"of {', '.join(WRITERS)}; default: {DEFAULT}")
    parser.add_argument(
        "--input",
        choices=("uint8", "normalised"),
        default="uint8",
        help="what the StableHLO and ONNX programs take: pixels, or float32 that is normalised already",
    )
    parser.add_argument("--name", help="of the model, for its card; default: that of --push, or of the folder")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to this repository of a model hub")
    parser.add_argument("--private", action="store_true", help="with --push: make the repository a private one")
    add_flags(parser)
    options = parser.parse_args(argv)
    check_flags(options)
    options.formats = list(dict.fromkeys(word for word in options.format.split(",") if word))
    for word in options.formats:
        choose(WRITERS, word, "--format")
        needs(word)
    if not options.formats:
        raise InputError(f"--format: names no format; allowed: {', '.join(WRITERS)}")
    if options.test_prior == ESTIMATE:
        raise InputError(
            "--test-prior=estimate: an export has no images to estimate from; give uniform, train or a file"
        )
    if options.tta != "none":
        raise InputError(f"--tta={options.tta}: an export is a single pass; leave it out")
    if options.push is not None:
        check_repository(options.push)
    if options.private and options.push is None:
        raise InputError("--private: without --push it changes nothing; add --push=OWNER/NAME")
    options.out = expanded(options.out)
    if "://" in options.out:
        raise InputError(f"--out={options.out}: an export is written to a disk; name a folder here, and copy it")
    return options


def run(argv: Sequence[str]) -> int:
    options = parse(argv)
    folder = pathlib.Path(options.out).absolute()
    if folder.exists():
        raise InputError(f"--out={options.out}: exists already; name a new folder, or remove it")
    if not folder.parent.is_dir():
        raise InputError(f"--out: no folder '{folder.parent}'; create it")

    from ltjax.training.finished_run import open_model, read_config

    use_devices(read_config(options.run).dtype)
    from ltjax.commands.adjustment import read_flags
    from ltjax.inference.hub import push

    finished = open_model(options.run, {})
    adjustment = read_flags(options, options.run, finished)
    if not is_first_process():
        return 0
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write(options, finished, adjustment, partial)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>12,}  {escape.terminal(f'{options.out}/{path.name}')}")
    if options.push is not None:
        print(f"uploaded: {escape.terminal(push(folder, options.push, options.private))}")
    return 0


def write(options: Any, finished: Any, adjustment: Any, folder: pathlib.Path) -> None:
    """Writes all files of the export into the folder."""
    from etils import epath

    from ltjax.commands.export_card import write_card
    from ltjax.inference.formats import WRITERS, Export
    from ltjax.inference.serving import Corrections, in_float32
    from ltjax.training.workdir.calibration import read_calibration
    from ltjax.training.workdir.identity import absolute
    from ltjax.training.workdir.model_record import to_json

    total = adjustment.total_offset
    offset = tuple(map(float, total)) if total.any() else None
    corrections = Corrections(float(adjustment.temperature), offset)
    export = Export(in_float32(finished), corrections, options.input == "uint8")
    formats = {word: WRITERS[word](export, epath.Path(folder)) for word in options.formats}
    about = {
        "input": options.input,
        "corrections": {
            "temperature": corrections.temperature,
            "offset": None if offset is None else list(offset),
            "notes": list(adjustment.notes),
        },
        "formats": formats,
    }
    record = to_json(finished.config, finished.model) | {"export": about}
    (folder / "model.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    workdir = absolute(options.run)
    name = options.name or options.push or pathlib.Path(options.out).absolute().name
    calibration = read_calibration(workdir, finished.model.fingerprint)
    card = write_card(name, finished.model, finished.config, finished.results, calibration, about)
    (folder / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
