"""Makes accuracy_by_class.png of finished runs: ``python docs/images/accuracy_by_class.py NAME=WORKDIR ...``."""

import json
import pathlib
import sys

from ltjax.report.style import legend_label, new_figure


def main(runs: list[str]) -> None:
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    for (name, _, workdir), marker in zip((run.partition("=") for run in runs), "os^D", strict=False):
        results = json.loads((pathlib.Path(workdir) / "results.json").read_text())
        accuracy = [100 * value for value in results["per_class"]]
        label = f"{name}, {100 * results['accuracy']['all']:.1f} %"
        axes.plot(results["class_counts"], accuracy, marker=marker, label=legend_label(label))
    axes.set(xscale="log", xlabel="training images of the class", ylabel="test accuracy, %")
    counts = sorted(results["class_counts"])
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(pathlib.Path(__file__).with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main(sys.argv[1:])
