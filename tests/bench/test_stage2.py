"""The benchmark of second stages: both sides make the same steps, the check notices when not, and what is reported."""

import jax
import numpy as np
import pytest

from ltjax.bench import measure, stage2
from ltjax.bench.__main__ import main
from tests.bench.test_bench import keep_the_compiler_flag, run  # noqa: F401

SMALL = "--network resnet8 --batch 8 --size 8 --classes 10 --images 400 --steps 2"


@pytest.mark.slow
def test_second_stages_are_measured_on_features_and_through_the_backbone(tmp_path, capsys):
    printed, record = run(f"stage2 {SMALL} --repeats 1", tmp_path / "stage2.json", capsys)
    assert list(record["sides"]) == ["cached features", "backbone every batch"]
    assert record["check"]["loss"] < 1e-5 and record["check"]["update"] < 1e-4
    assert "computing the features of 400 images once:" in printed and record["images"] == 400
    assert record["steps"] == 500 and record["epochs"] == 10
    ours, theirs = (side["median_ms"] for side in record["sides"].values())
    assert record["speed_relative_to"]["backbone every batch"] == pytest.approx(theirs / ours)
    assert record["stage_seconds"]["cached features"] == pytest.approx(500 * ours / 2 / 1e3)


@pytest.mark.slow
def test_in_float64_the_sides_agree_and_other_features_do_not():
    options = stage2.parse(["--second", "lws", *SMALL.split()])
    with jax.enable_x64(True):
        sides, seconds, _ = stage2.make_sides(options, "float64")
        assert seconds > 0 and stage2.check(sides, 1e-9, 1e-9)["loss"] < 1e-9
        resident = sides[stage2.CACHED].resident
        sides[stage2.CACHED].resident = resident._replace(images=np.roll(resident.images, 1, axis=0))
        with pytest.raises(measure.Disagreement, match="make different steps"):
            stage2.check(sides, 1e-9, 1e-9)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("stage2 --second ncm", ["--second", "ncm", "crt"]),
        ("stage2 --network resnet31", ["--network", "resnet32"]),
        ("stage2 --images 20 --classes 10 --size 8 --batch 64", ["--images", "20", "64"]),
    ],
)
def test_bad_options_are_one_line(command, words, capsys):
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error
