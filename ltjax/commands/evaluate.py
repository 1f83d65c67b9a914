"""Evaluates a finished run again: every test image once, with the weights of its last checkpoint.

python -m ltjax.evaluate --run=runs/mnist5k_reslt [--logit-adjustment=TAU] [--data-dir=DIR] [--batch-size=500]

The test images of the run are needed, and compared with it; training images that were added or removed change nothing.

--logit-adjustment subtracts TAU times the log prior of the training set from the logits (Menon et al., ICLR 2021,
eq. 9), post hoc and for any method; 1 is consistent for the balanced error of a network trained with cross-entropy.
"""

import dataclasses
import math
import sys
from collections.abc import Sequence

from ltjax.commands.cli import Parser, guarded, is_first_process, use_devices
from ltjax.errors import InputError


def run(argv: Sequence[str]) -> int:
    parser = Parser("evaluate", "ltjax.evaluate", __doc__)
    parser.add_argument("--run", required=True, help="the workdir of a finished run")
    parser.add_argument("--data-dir", help="where the data is now, if it was moved after training")
    parser.add_argument("--batch-size", type=int, help="images of a batch; does not change the result")
    parser.add_argument("--logit-adjustment", type=float, default=0.0, metavar="TAU", help="logits - TAU log prior")
    options = parser.parse_args(argv)
    if not math.isfinite(options.logit_adjustment):
        raise InputError(f"--logit-adjustment: impossible value {options.logit_adjustment}; allowed: a finite number")
    if options.batch_size is not None and options.batch_size < 1:
        raise InputError(f"--batch-size: impossible value {options.batch_size}; allowed: an integer >= 1")

    from ltjax.training.finished_run import open_finished, read_config

    use_devices(read_config(options.run).dtype)
    from ltjax.report import format_table
    from ltjax.training.out_of_memory import naming
    from ltjax.training.workdir.results import make_evaluator, results_over_seeds, summarize_seeds

    changes = {"data.dir": options.data_dir, "evaluation.batch_size": options.batch_size}
    finished = open_finished(options.run, {k: v for k, v in changes.items() if v is not None})
    config, tau = finished.config, options.logit_adjustment
    stage = adjusted(finished.stage, finished.data, tau) if tau else finished.stage
    evaluator = make_evaluator(config, finished.data, stage, finished.mesh)
    with naming("in evaluation", f"lower --batch-size (now {config.evaluation.batch_size})"):
        counters = evaluator(finished.variables, finished.data.test)
    summaries = summarize_seeds(config, finished.data, counters)
    losses = [one.get("train_loss_last_epoch") for one in finished.results.get("per_seed", [finished.results])]
    record = finished.results | results_over_seeds(config, summaries, losses)
    if is_first_process():
        print(format_table(record))
        if tau:
            print(f"with post-hoc logit adjustment, tau {tau:g}")
            return 0
        same = record["per_class"] == finished.results["per_class"]
        print("equal to results.json" if same else "differs from results.json: other hardware or library versions")
    return 0


def adjusted(stage, data, tau: float):
    """The stage with TAU times the log prior of its training set subtracted from its logits."""
    from ltjax.classifiers import adjust_logits

    if (data.class_counts == 0).any():
        raise InputError("--logit-adjustment: a class has no training image and thus no prior; evaluate without it")

    def predict(variables, images):
        return adjust_logits(stage.predict(variables, images), class_counts=data.class_counts, tau=tau)

    return dataclasses.replace(stage, predict=predict)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
