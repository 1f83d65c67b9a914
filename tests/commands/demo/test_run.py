"""A run that was trained, opened for the page: grey images, with and without its training data."""

from ltjax import models
from ltjax.commands.demo.cards import cards, head
from ltjax.commands.demo.command import open_session
from ltjax.commands.demo.uploads import checked
from ltjax.errors import InputError
from ltjax.training import loop, prepare
from tests.commands.demo.small_model import encoded
from tests.training import toy


def test_a_run_is_opened_from_its_workdir(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    monkeypatch.setattr("ltjax.commands.demo.command.use_devices", lambda dtype: None)  # JAX has started
    run = str(tmp_path / "run")
    results = loop.train(toy.config(epochs=1), run)
    (tmp_path / "image.png").write_bytes(encoded((9, 9, 9)))
    uploads, _ = checked([str(tmp_path / "image.png")])

    one = open_session(run, None, neighbours=True)
    (answer,), problems = one.answers(uploads)
    assert problems == [] and answer.image.shape == (8, 8, 1) and len(answer.shares) == 3
    assert len(answer.neighbours) == 6 and answer.neighbours[0].image.shape == (8, 8, 1)
    assert f"accuracy {100 * results['accuracy']['all']:.1f} %" in head(one) and "42 training images" in head(one)
    assert cards(one, [answer], []).count("<img") == 7

    def lost(settings):
        raise InputError("no folder 'toys'")

    monkeypatch.setattr(prepare, "build", lost)
    without = open_session(run, None, neighbours=False)
    (other,), _ = without.answers(uploads)
    assert [near.label for near in other.neighbours] == [near.label for near in answer.neighbours]
    assert cards(without, [other], []).count("<img") == 1 and "The training images are not there" in head(without)
    assert "no training images: no folder 'toys'" in capsys.readouterr().err
