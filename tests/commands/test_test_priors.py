"""evaluate on test lists, and with experts weighted for them: against numpy on the network's own logits."""

import json

import jax
import numpy as np
import pytest
from scipy.special import softmax

from ltjax import models
from ltjax.classifiers import estimate_prior
from ltjax.commands import test_priors
from ltjax.commands.adjustment import Adjustment
from ltjax.commands.evaluate import main
from ltjax.data.test_lists import TestList
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished
from tests.methods.expert_toys import BACKBONES
from tests.training import toy

FORWARD = np.array([7, 2, 1])  # of seven test images of each class, at most seven times as many of one as of another
LISTS = "--test-prior=forward:7,uniform,backward:7"


@pytest.fixture(scope="module", autouse=True)
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        for name, backbone in BACKBONES.items():
            patch.setitem(models.BACKBONES, name, backbone)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(workdir, each expert's logits [seeds, E, N, C] of the test images, their labels) of SADE with two seeds."""
    workdir = tmp_path_factory.mktemp("run")
    changes = {"num_seeds": 2, "epochs": 1, "model__backbone": "ride_toy", "data__augment": "pad_crop"}
    loop.train(toy.config("sade", optimizer__learning_rate=0.003, **changes), str(workdir))
    finished = open_finished(str(workdir), {})
    test = finished.data.test
    images = test.images(np.arange(len(test)))
    seeds = [jax.tree.map(lambda x, s=s: x[s], finished.variables) for s in range(2)]
    views = [finished.stage.views[f"expert_{e}"] for e in range(3)]
    return workdir, np.array([[view(v, images) for view in views] for v in seeds], np.float64), test.labels, finished


def evaluated(run, tmp_path, *flags):
    assert main([f"--run={run[0]}", *flags, f"--out={tmp_path / 'out.json'}"]) == 0
    return json.loads((tmp_path / "out.json").read_text())


def chosen(labels, counts):
    generator, rows = np.random.RandomState(0), []
    for label, count in enumerate(counts):
        places = np.flatnonzero(labels == label)
        generator.shuffle(places)
        rows += places[:count].tolist()
    return np.array(rows)


def test_each_list_as_trained_and_corrected(run, tmp_path, capsys):
    _, experts, labels, finished = run
    record = evaluated(run, tmp_path, LISTS)
    assert [row["class_counts"] for row in record["lists"]] == [[7, 2, 1], [7, 7, 7], [1, 2, 7]]
    assert [row["images"] for row in record["lists"]] == [10, 21, 10] and not record["transductive"]
    prior = finished.stage.prior / np.sum(finished.stage.prior)
    for row, counts in zip(record["lists"], (FORWARD, np.array([7, 7, 7]), FORWARD[::-1]), strict=True):
        rows, expected = chosen(labels, counts), {}
        for seed, logits in enumerate(experts.mean(1)):
            estimated = estimate_prior(softmax(logits[rows], 1), prior)
            offsets = {
                "as_trained": 0.0, "known_prior": np.log(counts / prior), "estimated_prior": np.log(estimated / prior)
            }  # fmt: skip
            for name, offset in offsets.items():
                right = (logits + offset).argmax(1) == labels
                expected.setdefault(name, []).append(right[rows].mean())
                if name != "estimated_prior":
                    exact = sum(counts[c] / counts.sum() * right[labels == c].mean() for c in range(3))
                    found = row["accuracy_by_all_test_images"][name]["per_seed"][seed]
                    assert found == pytest.approx(exact, abs=1e-6)
        for name, values in expected.items():
            assert row["accuracy"][name]["per_seed"] == pytest.approx(values, abs=0.05), name  # a tie apart
            assert row["accuracy"][name]["mean"] == pytest.approx(np.mean(row["accuracy"][name]["per_seed"]))
    table = (tmp_path / "out.json.txt").read_text().splitlines()
    assert table[0].startswith("| test list | images | as trained | prior known | prior estimated |")
    assert table[2].startswith("| forward:7 | 10 | ") and "±" in table[2]
    assert "forward:7" in capsys.readouterr().out


def test_a_list_whose_estimate_has_collapsed_says_so():
    # a network that hardly trained: it sees a little of class 2 in every image, and predicts that for none
    logits = np.log(np.random.default_rng(0).dirichlet([5, 5, 0.1], 300) * 0.9 + [0, 0, 0.1])
    base = Adjustment(1.0, np.zeros(3), np.zeros(3), np.array([0.499, 0.499, 0.002]))
    labels = np.arange(300) % 3
    found = [test_priors._accuracies(x, labels, np.arange(300), base) for x in (logits, 8.0 * np.eye(3)[labels])]
    record = {
        "transductive": False,
        "lists": [test_priors._summary(TestList("uniform"), labels, 3, found, (4, 5))],
        "adjustment": {"notes": []},
    }
    (line,) = test_priors.explanation(record)
    assert line.startswith("uniform: seed 4: the estimate puts 100.0% of the images in class 2")


@pytest.mark.slow
def test_the_experts_are_weighted_for_each_list_and_every_column_says_so(run, tmp_path, capsys):
    _, experts, labels, _ = run
    record = evaluated(run, tmp_path, LISTS, "--aggregate=stability")
    assert record["transductive"] and "TRANSDUCTIVE" in capsys.readouterr().out
    assert "experts weighted (transductive)" in (tmp_path / "out.json.txt").read_text()
    learned = [[seed["weights"] for seed in row["aggregate"]] for row in record["lists"]]
    assert len({tuple(map(tuple, of_list)) for of_list in learned}) == 3
    for row, weights, counts in zip(record["lists"], learned, (FORWARD, [7, 7, 7], FORWARD[::-1]), strict=True):
        assert set(row["accuracy"]) == {"as_trained"}  # the weights decide the network's class distribution
        rows = chosen(labels, counts)
        for seed in range(2):
            assert sum(weights[seed]) == pytest.approx(1)
            right = np.einsum("enc,e->nc", experts[seed], weights[seed]).argmax(1) == labels
            assert row["accuracy"]["as_trained"]["per_seed"][seed] == pytest.approx(right[rows].mean(), abs=1e-6)
    again = evaluated(run, tmp_path, LISTS, "--aggregate=stability")
    assert again["lists"] == record["lists"]


def test_the_experts_are_weighted_for_the_whole_test_set(run, tmp_path, capsys):
    _, experts, labels, _ = run
    record = evaluated(run, tmp_path, "--aggregate=stability:pad_crop")
    assert "TRANSDUCTIVE" in capsys.readouterr().out and record["transductive"]
    weights = [seed["weights"] for seed in record["adjustment"]["aggregate"]]
    accuracies = [
        np.mean(np.einsum("enc,e->nc", logits, w).argmax(1) == labels)
        for logits, w in zip(experts, weights, strict=True)
    ]
    assert record["accuracy"]["all"] == pytest.approx(np.mean(accuracies), abs=1e-6)


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--aggregate=mean"], "--aggregate: impossible value 'mean'; allowed: uniform, stability"),
        (["--aggregate=stability:none"], "two views of an image would be the same"),
        (["--aggregate=stability:blurry"], "--aggregate"),
        (["--test-prior=forward"], "'forward' is no test list"),
        (["--test-prior="], "--test-prior: is empty; give uniform, train or the path of a file"),
        (["--test-prior=uniform", "--model-prior="], "--model-prior: is empty; give uniform, train"),
        (["--test-prior=forward:2,backward:2", "--fit-temperature"], "--fit-temperature"),
        (["--test-prior=forward:2", "--logit-adjustment=1"], "give one of them"),
        (["--test-prior=forward:2", "--aggregate=stability", "--tta=flip"], "--tta=flip"),
    ],
)
def test_mistakes_are_one_line(run, flags, says, capsys):
    assert main([f"--run={run[0]}", *flags]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
