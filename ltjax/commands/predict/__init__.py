"""Classifies images with a finished run: files, folders, globs, list files, prepared shards.

python -m ltjax.predict --run=runs/mine IMAGES ... [--out=predictions.csv] [--top=3] [--threshold=P]
    [--test-prior=uniform|train|FILE|estimate] [--temperature=run|none|NUMBER] [--tta=flip]

The workdir alone is needed, not the training data. Every image is resized and cropped as the test images of the run
were. Each line has the path, the likeliest class, its probability in %, then the next classes; --out writes the same as
CSV, JSON lines or Parquet (by the ending, or --format), with probabilities from 0 to 1. In folders, files whose names
are not those of images are counted and left out. An image that cannot be read ends the command; with --on-error=skip it
is reported, counted and left out. With several seeds, probabilities are averaged over the networks. They are calibrated
where the run has a temperature (it was fitted on its validation images).

--out is made of FILE.parts, where finished rows are: a command that was interrupted goes on there when it is run again.
Several processes (launch/local.sh predict ..., or srun) share the work; --out is then on a disk that they share.
`ltjax predict` is the same command.
"""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, use_devices
from ltjax.commands.predict.inputs import Reader, find_images
from ltjax.commands.predict.rows import FORMATS, NONE_OF_THEM, Table, format_of
from ltjax.errors import InputError
from ltjax.settings.user_paths import expanded

__all__ = ["find_images", "main", "parse"]


def parse(argv: Sequence[str]) -> Any:
    from ltjax.commands.adjustment import add_flags, check_flags

    parser = Parser("predict", "ltjax.predict", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGES",
        help="files; folders with their subfolders; globs; lists (.txt: a path a line; a number behind it, or a "
        "name behind a tab or a comma, is ignored); folders of prepared shards",
    )
    parser.add_argument("--root", help="the folder that paths in lists are relative to; default: that of the list")
    parser.add_argument("--out", metavar="FILE", help="write a file instead of printing")
    parser.add_argument("--format", choices=tuple(FORMATS), help="of --out; default: by its ending, or CSV")
    parser.add_argument("--top", type=int, default=3, help="classes to print for each image")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help=f"adds a prediction: the likeliest class, or '{NONE_OF_THEM}' if its probability is below P; where images "
        "have several labels, all classes from P on (by default from the threshold of each that the run has fitted)",
    )
    parser.add_argument("--on-error", choices=("stop", "skip"), default="stop", help="for unreadable images")
    parser.add_argument("--data-dir", help="where the data is now; for runs of earlier versions alone, which need it")
    parser.add_argument("--batch-size", type=int, help="images of a batch; default: that of the run's evaluation")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images; 0: threads, the default")
    add_flags(parser)
    options = parser.parse_args(argv)
    check_flags(options)
    for name, low in (("top", 1), ("batch_size", 1), ("workers", 0)):
        value = getattr(options, name)
        if value is not None and value < low:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: impossible value {value}; allowed: an integer >= {low}")
    if options.threshold is not None and not 0 < options.threshold <= 1:
        raise InputError(f"--threshold: impossible value {options.threshold}; allowed: a probability above 0, up to 1")
    options.out = options.out and expanded(options.out)
    folder = pathlib.Path(options.out or "x").absolute().parent
    if not folder.is_dir():
        raise InputError(f"--out: no folder '{folder}'; create it")
    if options.out and os.path.isdir(options.out):
        raise InputError(f"--out: '{options.out}' is a folder; name a file in it, such as predictions.csv")
    return options


def run(argv: Sequence[str]) -> int:
    options = parse(argv)
    form = format_of(options.out or "", options.format)
    images = find_images(options.images, options.root)

    from ltjax.training.finished_run import open_model, read_config

    use_devices(read_config(options.run).dtype)
    import jax
    from tqdm import tqdm

    from ltjax.commands.adjustment import ESTIMATE, read_flags
    from ltjax.commands.predict.network import open_network
    from ltjax.commands.predict.work import Job
    from ltjax.commands.several_labels import check_flags as check_several
    from ltjax.commands.several_labels import thresholds_of
    from ltjax.inference.preprocessing import check_shape
    from ltjax.training.out_of_memory import naming

    share = (jax.process_index(), jax.process_count())
    first = share[0] == 0
    if images.left_out and first:
        print(escape.terminal(f"left out {images.left_out}"), file=sys.stderr)
    if share[1] > 1 and not options.out:
        raise InputError(f"--out is missing: {share[1]} processes cannot print in order; name a file")
    changes = {"data.dir": options.data_dir, "evaluation.batch_size": options.batch_size}
    changes = {key: value for key, value in changes.items() if value is not None}
    finished = open_model(options.run, changes, several_labels=True)
    check_shape(finished.model.image_shape)
    if finished.model.several_labels:
        check_several(options, but=("images",))
    adjustment = read_flags(options, options.run, finished)
    names = finished.model.names
    if options.threshold is not None and NONE_OF_THEM in names:
        raise InputError(f"--threshold: a class of the run is called '{NONE_OF_THEM}'; leave --threshold out")
    size = min(finished.config.evaluation.batch_size, len(images))
    network = open_network(finished, options.tta, size)
    table = Table(names, min(options.top, len(names)), options.threshold)
    if finished.model.several_labels:
        thresholds, note = thresholds_of(finished, options.run, options.threshold)
        table = table._replace(threshold=None, thresholds=thresholds)
        adjustment = dataclasses.replace(adjustment, notes=(note,))
    read = Reader(images, finished.model.image_shape, finished.model.resize, finished.model.interpolation)
    if first:
        for note in adjustment.notes:
            print(escape.terminal(note), file=sys.stderr)
    passes = 2 if options.test_prior == ESTIMATE else 1
    quiet = not (first and sys.stderr.isatty())  # the share of the first process stands for all
    total = -(-len(images) // share[1]) if passes == 1 else None
    with tqdm(total=total, unit=" images", disable=quiet, smoothing=0.1, dynamic_ncols=True) as bar:
        job = Job(
            images, read, network, adjustment, table, options.workers, options.on_error == "skip", bar.update, share
        )
        with naming("in prediction", f"lower --batch-size (now {size})"):
            if options.out:
                return to_file(options, job, form, finished.model.fingerprint)
            return to_terminal(options, job)


def to_terminal(options: Any, job: Any) -> int:
    """Prints the predictions."""
    from ltjax.commands.adjustment import ESTIMATE
    from ltjax.commands.predict import work

    shown = [escape.terminal(name) for name in escape.distinct(job.table.class_names)]
    if options.test_prior == ESTIMATE:
        job = job._replace(adjustment=work.estimate_in_memory(job))
        print(work.shown_estimate(job.adjustment, shown), file=sys.stderr)
    total, batch = len(job.images), job.network.batch
    spans = work.Spans(tuple(range(-(-total // batch))), batch, batch, total)
    left_out = 0
    for rows, skipped in work.predictions(job, spans):
        left_out += len(skipped)
        for row in rows:
            words = [f"{shown[label]} {100 * share:.1f}" for label, share in job.table.shown(row)]
            answer = [] if job.table.answered(row) else [NONE_OF_THEM]
            if job.table.several_labels:
                answer = [job.table.answer(row, shown) or NONE_OF_THEM]
            print(escape.terminal(row.path), *answer, *words, sep="\t")
    if left_out:
        print(f"left out {left_out} of {total} images, which could not be read", file=sys.stderr)
    return 0


def to_file(options: Any, job: Any, form: str, fingerprint: str) -> int:
    """Writes the predictions of this process; the first one makes the file when all are there."""
    from ltjax.commands.adjustment import ESTIMATE
    from ltjax.commands.predict import work
    from ltjax.commands.predict.parts import open_parts

    how, total, first = FORMATS[form], len(job.images), job.share[0] == 0
    about = work.about(job, options, fingerprint, form)
    parts = open_parts(options.out, about, total, work.block_size(total, job.network.batch), first)
    done = False
    try:
        known = False
        if options.test_prior == ESTIMATE:
            adjustment, known = work.estimate_in_parts(job, parts)
            job = job._replace(adjustment=adjustment)
            if first:
                shown = [escape.terminal(name) for name in escape.distinct(job.table.class_names)]
                print(work.shown_estimate(adjustment, shown), file=sys.stderr)
        (work.write_from_logits if known else work.write_all)(job, parts, how)
        parts.wait_for("rows")
        done = True
    finally:
        if not done and first:
            kept = min(total, (parts.blocks - len(parts.missing("rows"))) * parts.block)
            place = escape.terminal(str(parts.folder))
            if kept:
                print(f"the rows of {kept} images are kept in {place}: the same command goes on there", file=sys.stderr)
            else:
                parts.remove_if_empty()
    if first:
        skipped = parts.skipped()
        parts.join(how, job.table)
        print(f"{total - len(skipped)} images: {escape.terminal(options.out)}")
        if skipped:
            print(f"left out {len(skipped)} of {total} images, which could not be read", file=sys.stderr)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
