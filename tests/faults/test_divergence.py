"""Trainings that diverge in their last update: an error, never a result, and the last good checkpoint stays."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ltjax import models
from ltjax.commands import predict
from ltjax.commands.evaluate import main as evaluate
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished
from tests.training import toy


@pytest.fixture(scope="module", autouse=True)
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        yield


def config(**changes):
    return toy.config("diverging", **({"evaluation__every_epochs": 0, "checkpoint__keep": 1} | changes))


def stages(last_gradient=1.0, infinite_logits=False):
    """One stage; the gradient of its step 10 has this factor, and the logits of its test images may be infinite."""

    def overflow(images):  # a constant infinity would let the compiler do as it likes
        return jnp.exp(1000 + jnp.sum(images, dtype=jnp.float32)) if infinite_logits else 0.0

    def method(settings, own, data):
        plain = toy.stage(settings)

        def objective(apply, params, model_state, batch, context):
            outcome = plain.objective(apply, params, model_state, batch, context)
            factor = jnp.where(context.step == 9, last_gradient, 1.0)
            terms = {name: term._replace(values=_scaled(term.values, factor)) for name, term in outcome.terms.items()}
            return outcome._replace(terms=terms)

        return [
            toy.stage(
                settings,
                objective=objective,
                predict=lambda variables, images: plain.predict(variables, images) + overflow(images),
            )
        ]

    return method


@jax.custom_vjp
def _scaled(values, factor):
    return values


_scaled.defvjp(lambda values, factor: (values, factor), lambda factor, g: (g * factor, None))


def steps(folder):
    return {path.name for path in (folder / "checkpoints" / "first").iterdir()}


def test_a_last_update_that_is_not_finite_is_an_error_and_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "diverging", stages(last_gradient=jnp.inf))
    with pytest.raises(FloatingPointError, match=r"not finite after step 10 .*conv.*the last good step is 9 of"):
        loop.train(config(), str(tmp_path))
    assert not (tmp_path / "results.json").exists()
    assert {"0", "9"} <= steps(tmp_path) and "10" not in steps(tmp_path)


def test_logits_that_are_not_finite_are_an_error_and_their_state_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "diverging", stages(infinite_logits=True))
    for _ in range(2):  # the same again, from the last good step
        with pytest.raises(FloatingPointError, match=r"logits of 21 of 21 images .* the last good step is 9 of"):
            loop.train(config(), str(tmp_path))
        assert not (tmp_path / "results.json").exists()
        assert {"0", "9", "10.diverged"} <= steps(tmp_path) and "10" not in steps(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "diverging", stages())
        folder = tmp_path_factory.mktemp("runs") / "run"
        loop.train(config(), str(folder))
        yield folder


def test_a_finished_run_whose_weights_are_not_finite_is_refused_in_one_line(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    step = tmp_path / "run" / "checkpoints" / "first" / "10"
    with ocp.StandardCheckpointer() as writer:  # as older versions wrote it
        state = jax.tree.map(np.asarray, writer.restore(step / "state"))
        state["params"]["head"]["classifier"]["kernel"] = np.full((4, 3), np.nan, np.float32)
        shutil.rmtree(step / "state")
        writer.save(step / "state", state)
    record = json.loads((step / "meta" / "metadata").read_text())
    old = {key: record[key] for key in ("fingerprint", "pending", "elapsed")}
    (step / "meta" / "metadata").write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"params/head/classifier/kernel\), so its training diverged"):
        open_finished(str(tmp_path / "run"), {})
    assert evaluate([f"--run={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "diverged" in error and error.count("\n") == 1


def test_logits_of_a_finished_run_that_are_not_finite_are_one_line(run, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.setitem(METHODS, "diverging", stages(infinite_logits=True))
    assert evaluate([f"--run={run}"]) == 1
    error = capsys.readouterr().err
    assert "logits of 21 of 21 test images" in error and error.count("\n") == 1
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert predict.main([f"--run={run}", str(tmp_path / "a.png")]) == 1
    printed = capsys.readouterr()
    assert "a.png" in printed.err and printed.err.count("\n") == 1 and "nan" not in printed.out
