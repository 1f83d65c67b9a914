"""evaluate with a temperature, another prior, mirror images: against numpy on the network's own logits."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import ltjax
from ltjax import models
from ltjax.classifiers import estimate_prior
from ltjax.commands.adjustment import prior_of_file
from ltjax.commands.evaluate import main
from ltjax.errors import InputError
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished
from tests.training import toy

COUNTS = np.array(toy.COUNTS, float)


def with_validation(settings):
    return dataclasses.replace(toy.build(settings), validation=toy.source((9, 8, 7), 2))


@pytest.fixture(scope="module", autouse=True)
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", with_validation)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(workdir, the test images' log probabilities [seeds, N, C] and their labels) of a run of two seeds."""
    workdir = tmp_path_factory.mktemp("run")
    loop.train(toy.config(num_seeds=2, optimizer__learning_rate=0.003), str(workdir))
    finished = open_finished(str(workdir), {})
    test = finished.data.test
    images = test.images(np.arange(len(test)))
    seeds = [jax.tree.map(lambda x, s=s: x[s], finished.variables) for s in range(2)]
    both = [[log_softmax(finished.stage.predict(v, i), axis=1) for v in seeds] for i in (images, images[:, :, ::-1])]
    return workdir, np.array(both, np.float64), test.labels


def evaluated(run, tmp_path, *flags):
    assert main([f"--run={run[0]}", *flags, f"--out={tmp_path / 'out.json'}"]) == 0
    return json.loads((tmp_path / "out.json").read_text())


def ece(probabilities, labels, bins=15):
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    index = np.ceil(confidence * bins)
    return sum(abs(np.sum(right[index == b]) - np.sum(confidence[index == b])) for b in range(bins + 1)) / len(labels)


def accuracy(logits, labels):
    return np.mean([np.mean(one.argmax(1) == labels) for one in logits])


def test_temperature_and_calibration(run, tmp_path, capsys):
    (workdir, (plain, _), labels), record = run, evaluated(run, tmp_path)
    temperature = json.loads((workdir / "calibration.json").read_text())["temperature"]
    averaged = np.log(np.exp(plain).mean(0))
    assert record["adjustment"]["temperature"] == temperature == ltjax.load(workdir).temperature
    assert record["calibration"]["ece"]["all"] == pytest.approx(
        ece(softmax(averaged / temperature, 1), labels), abs=1e-4
    )
    assert record["calibration"]["ece_without_temperature"] == pytest.approx(ece(np.exp(averaged), labels), abs=1e-4)
    few, scaled = labels > 0, softmax(averaged / temperature, 1)  # 12 and 6 training images
    assert record["calibration"]["ece"]["few"] == pytest.approx(ece(scaled[few], labels[few]), abs=1e-4)
    assert record["calibration"]["ece"]["many"] is None
    text = (tmp_path / "out.json.txt").read_text()
    assert "equal to results.json" in capsys.readouterr().out and "macro-F1" in text and "temperature" in text
    assert "fitted on 24 validation images" in text
    none = evaluated(run, tmp_path, "--temperature=none")
    assert none["calibration"]["ece"]["all"] == record["calibration"]["ece_without_temperature"]
    assert none["per_class"] == record["per_class"] and none["macro_f1"] == record["macro_f1"]


def test_the_prior_is_corrected_and_estimated(run, tmp_path):
    _, (plain, mirrored), labels = run
    tau = evaluated(run, tmp_path, "--logit-adjustment=2")
    assert tau["accuracy"]["all"] == pytest.approx(accuracy(plain - 2 * np.log(COUNTS), labels))
    uniform = evaluated(run, tmp_path, "--test-prior=uniform", "--temperature=2.5")
    corrected = softmax(np.log(np.exp(plain).mean(0)) / 2.5 - np.log(COUNTS), 1)
    assert uniform["calibration"]["ece"]["all"] == pytest.approx(ece(corrected, labels), abs=1e-4)
    assert uniform["accuracy"]["all"] == pytest.approx(accuracy(plain / 2.5 - np.log(COUNTS), labels))
    without = softmax(np.log(np.exp(plain).mean(0)) - np.log(COUNTS), 1)  # the correction is that of T = 1, too
    assert uniform["calibration"]["ece_without_temperature"] == pytest.approx(ece(without, labels), abs=1e-4)
    both = evaluated(run, tmp_path, "--logit-adjustment=1", "--temperature=2.5")  # its shift is divided by T
    raw = both["calibration"]["ece_without_temperature"]
    assert raw == pytest.approx(uniform["calibration"]["ece_without_temperature"], abs=1e-6)
    np.testing.assert_allclose(np.ptp(both["adjustment"]["offset"]), np.log(24 / 6) / 2.5)
    train = evaluated(run, tmp_path, "--test-prior=train", "--temperature=none")
    assert train["accuracy"]["all"] == pytest.approx(accuracy(plain, labels))
    estimated = evaluated(run, tmp_path, "--test-prior=estimate", "--temperature=none", "--tta=flip")
    flipped = np.log((np.exp(plain) + np.exp(mirrored)) / 2)
    prior = estimate_prior(np.exp(flipped).mean(0), COUNTS)
    np.testing.assert_allclose(
        estimated["adjustment"]["offset"], np.log(np.maximum(prior, 1e-30) * 42 / COUNTS), atol=1e-3
    )
    other = evaluated(run, tmp_path, "--test-prior=uniform", "--model-prior=uniform", "--temperature=none")
    np.testing.assert_allclose(other["adjustment"]["offset"], 0, atol=1e-12)


def test_every_number_of_the_record_is_of_this_evaluation(run, tmp_path, capsys):
    (workdir, (plain, _), labels) = run
    stored = workdir / "results.json"
    before = json.loads(stored.read_text())
    stored.write_text(json.dumps(before | {"views": {"x": 1}, "report": {"x": 1}, "test_index_sha256": "stale"}))
    record = evaluated(run, tmp_path, "--test-prior=uniform", "--temperature=2.5")
    printed = capsys.readouterr().out
    stored.write_text(json.dumps(before))
    assert not record.keys() & {"views", "report"} and record["test_index_sha256"] == before["test_index_sha256"]
    corrected = plain / 2.5 - np.log(COUNTS)
    errors = [ece(softmax(one, 1), labels) for one in corrected]
    for seed, error in zip(record["per_seed"], errors, strict=True):
        assert seed["calibration_error"]["all"] == pytest.approx(error, abs=1e-4)
        assert seed.keys() == before["per_seed"][0].keys() and seed["calibration_error"]["many"] is None
    assert record["calibration_error"]["all"] == pytest.approx(np.mean(errors), abs=1e-4)
    assert record["std"]["calibration_error"]["all"] == pytest.approx(np.std(errors, ddof=1), abs=1e-4)
    assert record["macro_f1"] == pytest.approx(np.mean([one["macro_f1"] for one in record["per_seed"]]))
    together = np.log(np.exp(plain).mean(0)) / 2.5 - np.log(COUNTS)
    assert record["averaged"]["accuracy"]["all"] == pytest.approx(accuracy(together[None], labels))
    assert f"average of 2 networks: {100 * accuracy(together[None], labels):.1f} (mean class" in printed
    assert "the temperature is that of the average of 2 networks" in printed


def test_a_temperature_is_fitted_on_request_on_test_images_only_if_they_are_named(run, capsys):
    before = json.loads((run[0] / "calibration.json").read_text())
    assert main([f"--run={run[0]}", "--fit-temperature=test"]) == 0
    assert "21 test images" in capsys.readouterr().out
    assert json.loads((run[0] / "calibration.json").read_text())["split"] == "test"
    assert main([f"--run={run[0]}", "--fit-temperature"]) == 0
    after = json.loads((run[0] / "calibration.json").read_text())
    assert after["temperature"] == pytest.approx(before["temperature"], rel=1e-3)
    assert (after["split"], after["images"]) == ("validation", 24)


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--logit-adjustment=nan"], "--logit-adjustment: impossible value nan"),
        (["--logit-adjustment=1", "--test-prior=uniform"], "give one of them"),
        (["--model-prior=uniform"], "without --test-prior it changes nothing"),
        (["--temperature=0"], "--temperature: impossible value 0; allowed: run, none, or a number > 0"),
        (["--temperature=hot"], "--temperature: impossible value hot"),
        (["--test-prior=nowhere.csv"], "nowhere.csv cannot be read"),
        (["--out=no/such/file.json"], "create it"),
    ],
)
def test_mistakes_are_one_line(run, capsys, flags, says):
    assert main([f"--run={run[0]}", *flags]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_prior_is_read_from_a_file(tmp_path):
    path = tmp_path / "prior.csv"
    path.write_text('class,count\n"rose, red",30\r\ntulip,10\n\n\'=x,0\n')
    assert prior_of_file("--test-prior", str(path), ("rose, red", "tulip", "=x")).tolist() == [0.75, 0.25, 0]


@pytest.mark.parametrize(
    "text, says",
    [
        ("a,1\nc,1\n", "line 2: unknown class 'c'; the run has 2, such as a, b"),
        ("a,1\n", "no line for 1 of 2 classes, such as 'b'"),
        ("a,1\na,2\n", "line 2: class 'a' has a line before"),
        ("a,-1\nb,1\n", "line 1: impossible number '-1'"),
        ("a,many\nb,1\n", "line 1: impossible number 'many'"),
        ("a,nan\nb,1\n", "line 1: impossible number 'nan'"),
        ("a 1\n", "line 1: is not 'class,count'"),
        ("a,0\nb,0\n", "all numbers are 0"),
        ("", "no line for 2 of 2 classes"),
        ("\udce9,1\n", "it is not UTF-8 text"),
    ],
)
def test_a_prior_that_does_not_fit_says_where(tmp_path, text, says):
    path = tmp_path / "prior.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"prior\.csv") as raised:
        prior_of_file("--test-prior", str(path), ("a", "b"))
    assert says in str(raised.value)


def test_a_method_without_a_known_prior_says_so(tmp_path, capsys):
    loop.train(toy.config("focal", epochs=1), str(tmp_path))
    assert main([f"--run={tmp_path}", "--test-prior=uniform"]) == 2
    error = capsys.readouterr().err
    assert (
        "method focal (stage 'train') go with no known class distribution" in error and "--model-prior=train" in error
    )
    assert main([f"--run={tmp_path}", "--test-prior=uniform", "--model-prior=train"]) == 0
