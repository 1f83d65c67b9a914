"""A run over bad files: it stops at the first, or goes over them, counts each once, and stops at one too many."""

import dataclasses
import json

import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.training import loop, prepare
from ltjax.training.workdir.skipped import skipped_records
from tests.training import toy

BAD = {3: "a", 30: "b"}


def build(settings):
    data = toy.build(settings)
    good = data.train.read

    def read(record):
        if record in BAD:
            raise OSError(f"truncated {BAD[record]}")
        return good(record)

    return dataclasses.replace(data, train=dataclasses.replace(data.train, read=read))


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def test_it_stops_at_the_first_and_then_goes_on_over_them(tmp_path, capsys):
    with pytest.raises(InputError, match=r"training batch of step \d: record \d+ .* cannot be read: OSError"):
        loop.train(toy.config(), str(tmp_path))
    results = loop.train(toy.config(data__on_error="skip"), str(tmp_path))
    reasons = [f"record {i} (index {i}) cannot be read: OSError: truncated {name}" for i, name in BAD.items()]
    expected = [{"index": i, "reason": reason} for i, reason in zip(BAD, reasons, strict=True)]
    assert results["step"] == 10 and results["skipped"] == expected
    assert json.loads((tmp_path / "results.json").read_text())["skipped"] == expected
    said = capsys.readouterr().err
    for reason in reasons:
        assert said.count(f"skipped: {reason} (") == 1
    assert "(2 of at most 100)" in said


def test_one_more_than_allowed_stops_the_run_also_over_several_starts(tmp_path):
    bounded = toy.config(data__on_error="skip", data__max_skipped=1)
    for _ in range(2):
        with pytest.raises(InputError, match=r"2 training records cannot be read, more than config.data.max_skipped=1"):
            loop.train(bounded, str(tmp_path))
    assert [record["index"] for record in skipped_records(loop.absolute(str(tmp_path)))] == list(BAD)
    assert loop.train(toy.config(data__on_error="skip"), str(tmp_path))["step"] == 10
