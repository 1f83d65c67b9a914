"""Evaluates a finished run again: every test image once, with the weights of its last checkpoint.

python -m ltjax.evaluate --run=runs/mnist5k_reslt [--logit-adjustment=TAU | --test-prior=uniform|train|FILE|estimate]
python -m ltjax.evaluate --run=runs/mnist5k_reslt --test-prior=forward:50,uniform,backward:50 [--aggregate=stability]
    [--tta=flip] [--temperature=run|none|NUMBER] [--fit-temperature] [--out=FILE.json] [--images=FOLDER|LIST]

The test images of the run are needed, and compared with it; training images that were added or removed change nothing.
With --images the workdir alone is needed: new pictures are evaluated in place of the test images. They lie in folders
with the names of classes, or a list names them, in lines 'path label' (the class's number) or 'path,class name'.

--logit-adjustment subtracts TAU times the log prior of the training set from the logits (Menon et al., ICLR 2021,
eq. 9), post hoc and for any method; 1 is consistent for the balanced error of a network trained with cross-entropy.
--test-prior corrects the probabilities for test images of another class distribution, by Bayes' rule. With
forward:RATIO, backward:RATIO and uniform, several of them with commas, it evaluates on lists of the test images whose
classes are as unequal as in training, or the other way round (Zhang et al., NeurIPS 2022), and prints a table.
--aggregate=stability weights the experts of a network for these test images, without labels; it is transductive.

--out writes the table and a record like results.json, without the views. Of several seeds the accuracies are means over
their networks, as in results.json; a line, and the entry "averaged", are of the average of their probabilities, which
predict uses. --fit-temperature fits the temperature of calibrated probabilities on the run's validation images and
stores it beside the run (a run that has some did so at its end); --fit-temperature=test takes the test images, whose
calibration error is then no test any more.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ltjax import escape
from ltjax.commands.cli import Parser, guarded, is_first_process, use_devices
from ltjax.errors import InputError
from ltjax.settings.user_paths import expanded


def parse(argv: Sequence[str]) -> Any:
    from ltjax.commands.adjustment import add_flags, check_flags
    from ltjax.commands.aggregate import add_flag, read_flag
    from ltjax.data.test_lists import parse_lists

    parser = Parser("evaluate", "ltjax.evaluate", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument("--data-dir", help="where the data is now, if it was moved after training")
    parser.add_argument("--batch-size", type=int, help="images of a batch; does not change the result")
    parser.add_argument("--out", metavar="FILE", help="write the record as JSON, and the table as FILE.txt beside it")
    parser.add_argument(
        "--fit-temperature",
        nargs="?",
        const="validation",
        choices=("validation", "test"),
        help="fit the temperature on these images and store it beside the run",
    )
    parser.add_argument("--images", metavar="FOLDER|LIST", help="labelled new pictures in place of the test images")
    add_flags(parser)
    add_flag(parser)
    options = parser.parse_args(argv)
    check_flags(options)
    options.lists, options.aggregated = parse_lists(options.test_prior or ""), read_flag(options.aggregate)
    if options.lists and options.aggregated is not None and options.tta != "none":
        raise InputError("--aggregate and --tta=flip: test lists are evaluated with one of them; leave the other out")
    if options.lists and options.fit_temperature:
        raise InputError(
            "--fit-temperature and test lists (--test-prior): fit the temperature first, in another command"
        )
    if options.images and options.fit_temperature:
        raise InputError(
            "--images and --fit-temperature: the temperature is fitted on images of the run; give one of them"
        )
    if options.images and options.data_dir:
        raise InputError("--images and --data-dir: new pictures need no data of the run; leave --data-dir out")
    if options.batch_size is not None and options.batch_size < 1:
        raise InputError(f"--batch-size: impossible value {options.batch_size}; allowed: an integer >= 1")
    options.out = options.out and expanded(options.out)
    folder = pathlib.Path(options.out or "x").absolute().parent
    if not folder.is_dir():
        raise InputError(f"--out: no folder '{folder}'; create it")
    return options


def run(argv: Sequence[str]) -> int:
    options = parse(argv)

    from ltjax.training.finished_run import open_finished, open_model, read_config

    use_devices(read_config(options.run).dtype)
    from ltjax.commands.adjustment import read_flags
    from ltjax.commands.aggregate import mark_transductive, with_weights
    from ltjax.inference.labelled import labelled_images
    from ltjax.report import format_table
    from ltjax.training.out_of_memory import naming

    changes = {"data.dir": options.data_dir, "evaluation.batch_size": options.batch_size}
    changes = {key: value for key, value in changes.items() if value is not None}
    finished = (open_model if options.images else open_finished)(options.run, changes, several_labels=True)
    if finished.model.several_labels:
        return on_several_labels(options, finished)
    if options.images:
        images = labelled_images(options.images, finished.model)
        finished = finished._replace(data=dataclasses.replace(finished.data, test=images, split="new"))
    with naming("in evaluation", f"lower --batch-size (now {finished.config.evaluation.batch_size})"):
        if options.fit_temperature:
            fit(options, finished)
        if options.lists:
            return on_lists(options, finished)
        weights = None
        if options.aggregated is not None:
            finished, weights = with_weights(finished, options.aggregated)
        adjustment = read_flags(options, options.run, finished)
        record = evaluated(options, finished, adjustment)
    if weights is not None:
        mark_transductive(record, options.aggregated, weights)
    if not is_first_process():
        return 0
    table = [format_table(record), *averaged_lines(record), calibration_lines(record), *record["adjustment"]["notes"]]
    print("\n".join(table))
    if options.images:
        named = escape.terminal(options.images)
        print(f"on {len(finished.data.test):,} pictures of {named}, of {classes_of(finished)} classes")
    elif not options.logit_adjustment and not options.test_prior and options.tta == "none" and weights is None:
        same = record["per_class"] == finished.results["per_class"]
        print("equal to results.json" if same else "differs from results.json: other hardware or library versions")
    write_out(options.out, record, table)
    return 0


def on_several_labels(options: Any, finished: Any) -> int:
    """The average precision of a run whose images have several labels."""
    from ltjax.commands import several_labels
    from ltjax.report import format_table
    from ltjax.training.out_of_memory import naming

    several_labels.check_flags(options)
    with naming("in evaluation", f"lower --batch-size (now {finished.config.evaluation.batch_size})"):
        record = several_labels.evaluate(finished, of_training(finished, new_images=False))
    if is_first_process():
        table = [format_table(record), several_labels.f1_line(record)]
        print("\n".join(table))
        same = record["per_class"] == finished.results["per_class"]
        print("equal to results.json" if same else "differs from results.json: other hardware or library versions")
        write_out(options.out, record, table)
    return 0


def on_lists(options: Any, finished: Any) -> int:
    """The run on test lists of other class distributions."""
    from ltjax.commands.adjustment import read_flags
    from ltjax.commands.test_priors import evaluate_lists, explanation, lists_table

    base = read_flags(argparse.Namespace(**{**vars(options), "test_prior": None}), options.run, finished)
    record = evaluate_lists(finished, options.lists, base, options.model_prior, options.aggregated)
    if is_first_process():
        table = [lists_table(record), "", *explanation(record)]
        print("\n".join(table))
        write_out(options.out, record, table)
    return 0


def write_out(path: str | None, record: dict[str, Any], table: Sequence[str]) -> None:
    """The record and the table where --out says."""
    from ltjax.data.storage.paths import write_atomically

    if path:
        write_atomically(path, json.dumps(record, indent=2) + "\n")
        write_atomically(f"{path}.txt", "\n".join(table) + "\n")
        print(f"written: {escape.terminal(path)}, {escape.terminal(path)}.txt")


def fit(options: Any, finished: Any) -> None:
    """Fits the temperature on the images that were asked for and stores it beside the run."""
    from ltjax.training import calibration
    from ltjax.training.execution.mesh import platform
    from ltjax.training.workdir.calibration import FILE, write_calibration
    from ltjax.training.workdir.data_record import split_difference
    from ltjax.training.workdir.identity import absolute
    from ltjax.training.workdir.results import reading_of

    config, split = finished.config, options.fit_temperature
    source = finished.data.test if split == "test" else calibration.validation_source(finished.data)
    if source is None:
        raise InputError(
            f"--fit-temperature: {finished.data.name} has no validation images here; train with config.data."
            "validation_use=choose and config.data.validation_fraction=0.2, or allow the test images: "
            "--fit-temperature=test"
        )
    other = split_difference(absolute(options.run), finished.data, config.data.verify, split)
    if other is not None:
        raise InputError(f"--fit-temperature: the {split} images are not those of the run: {other}; restore them")
    source = calibration.sampled(source, finished.data.num_classes)
    logits = calibration.logits_of(finished.stage.predict, config, platform(finished.mesh))
    found = calibration.all_logits(
        logits, finished.variables, source, config.evaluation.batch_size, finished.mesh, reading_of(config)
    )
    try:
        record = calibration.calibrated(found, source.labels, split, finished.stage.prior)
    except ValueError as error:
        raise InputError(f"--fit-temperature: {error}") from error
    write_calibration(absolute(options.run), record | {"fingerprint": finished.model.fingerprint})
    if is_first_process():
        ece = record["ece"]
        print(
            f"temperature {record['temperature']:.4g} of {record['images']} {split} images: calibration error "
            f"{ece['before']:.4f} without it, {ece['after']:.4f} with it ({FILE}){calibration.prior_note(record)}"
        )


def evaluated(options: Any, finished: Any, adjustment: Any) -> dict[str, Any]:
    """The record of results.json with the numbers of the adjusted network in place of its own."""
    from ltjax.commands.adjustment import ESTIMATE, NUMBERS
    from ltjax.commands.evaluation_pass import count_test_images
    from ltjax.training import calibration
    from ltjax.training.execution.mesh import platform
    from ltjax.training.workdir.results import reading_of, results_over_seeds, stage_reports, summarize_seeds

    config, data, stage, mesh = finished.config, finished.data, finished.stage, finished.mesh
    predict = calibration.flipped_too(stage.predict) if adjustment.tta == "flip" else stage.predict
    averaged = calibration.logits_of(predict, config, platform(mesh))
    if options.test_prior == ESTIMATE:
        some = calibration.sampled(data.test, data.num_classes, NUMBERS)
        size, reading = config.evaluation.batch_size, reading_of(config)
        seen = calibration.all_logits(averaged, finished.variables, some, size, mesh, reading)
        adjustment = adjustment.with_estimate(seen)
        note = f"for the class distribution of the {len(some)} test images, estimated without their labels"
        adjustment = dataclasses.replace(adjustment, notes=(*adjustment.notes, note))
    counted, raw = count_test_images(finished, predict, averaged, adjustment)
    summaries, together = summarize_seeds(config, data, [one.counters for one in counted]), counted[-1].quality
    losses = [one.get("train_loss_last_epoch") for one in finished.results.get("per_seed", [finished.results])]
    reports, qualities = stage_reports(config, stage, finished.variables), [one.quality for one in counted]
    seeds = config.num_seeds
    record = of_training(finished, new_images=bool(options.images))
    record |= results_over_seeds(config, summaries[:seeds], losses, reports, qualities[:seeds])
    record["calibration"] = {"ece": together["calibration_error"], "ece_without_temperature": raw}
    notes = list(adjustment.notes)
    if seeds > 1:
        record["averaged"] = {"accuracy": summaries[-1].accuracy, "macro_f1": together["macro_f1"]}
        if adjustment.temperature != 1:
            notes.append(f"the temperature is that of the average of {seeds} networks, and each of them gets it, too")
    flags = ("logit_adjustment", "test_prior", "model_prior")
    asked = {flag: getattr(options, flag) for flag in flags if getattr(options, flag)}
    if options.images:
        record |= {"split": data.split, "test_images": options.images, "test_size": len(data.test)}
    record["adjustment"] = {"notes": notes, **asked, **adjustment.description()}
    return record


def of_training(finished: Any, new_images: bool) -> dict[str, Any]:
    """What results.json has of the run, without what an evaluation measures: that of this one takes its place."""
    from ltjax.data.dataset import fingerprint

    measured = {"views", "report", "std", "per_seed", "macro_f1", "micro_f1", "calibration_error"}
    measured |= {"validation_index_sha256", "images_sha256"} if new_images else set()
    kept = {key: value for key, value in finished.results.items() if key not in measured}
    return kept | {"test_index_sha256": fingerprint(finished.data.test)}


def averaged_lines(record: dict[str, Any]) -> list[str]:
    """The accuracy of the average of several seeds in one line; nothing for one seed."""
    from ltjax.report import percent

    if "averaged" not in record:
        return []
    accuracy, f1 = record["averaged"]["accuracy"], record["averaged"]["macro_f1"]
    groups = ", ".join(f"{name} {percent(accuracy[name])}" for name in ("many", "medium", "few"))
    return [
        f"average of {len(record['per_seed'])} networks: {percent(accuracy['all'])} (mean class "
        f"{percent(accuracy['mean_class'])}, {groups}), macro-F1 {percent(f1)}"
    ]


def classes_of(finished: Any) -> int:
    """The number of classes that have a test image."""
    return len(np.unique(finished.data.test.labels))


def calibration_lines(record: dict[str, Any]) -> str:
    """Macro-F1 and calibration in two lines."""
    from ltjax.report import percent

    ece = record["calibration"]["ece"]
    groups = ", ".join(f"{name} {100 * ece[name]:.1f}" for name in ("many", "medium", "few") if ece[name] is not None)
    raw = record["calibration"]["ece_without_temperature"]
    before = "" if raw == ece["all"] else f"; {100 * raw:.1f} without the temperature"
    several = f" of the average of {len(record['per_seed'])} networks" if "per_seed" in record else ""
    f1 = percent(record["macro_f1"], record.get("std", {}).get("macro_f1"))
    return f"macro-F1 {f1}\ncalibration error{several} {100 * ece['all']:.1f} ({groups}){before}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
