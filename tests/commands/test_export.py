"""`ltjax export`: a folder that works without ltjax, its card, its one-line errors, and the upload."""

import http.server
import importlib.util
import json
import shutil
import threading

import jax
import numpy as np
import pytest

from ltjax import models
from ltjax.commands import evaluate, export, predict
from ltjax.commands.export_card import write_card
from ltjax.errors import InputError
from ltjax.inference.model import load
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_model
from tests.data.conftest import write_image
from tests.inference.exported import alone
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.expert_toys import BACKBONES
from tests.training import toy
from tests.training.step.test_micro_batches import config_of

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
NAMES = ("rose: a <b>", "- tulip |", "lily\n---")


def here(name):
    return importlib.util.find_spec(name) is not None


FORMATS = "safetensors,stablehlo" if here("safetensors") else "stablehlo"
with_hub = pytest.mark.skipif(not here("huggingface_hub"), reason="needs ltjax[hub]")


def gone(settings):
    raise InputError("config.data.dir: '/gone' does not exist")


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    register(monkeypatch)
    monkeypatch.setattr(prepare, "build", gone)


def register(patch):
    for name, backbone in BACKBONES.items():
        patch.setitem(models.BACKBONES, name, backbone)
    patch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The workdir of a run, copied elsewhere, with class names that Markdown and YAML could misread."""
    root = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        patch.setattr(prepare, "build", toy.build)
        loop.train(toy.config("ce", epochs=1), str(root / "there"))
    shutil.move(root / "there", root / "run")
    model = json.loads((root / "run" / "model.json").read_text()) | {"class_names": NAMES}
    (root / "run" / "model.json").write_text(json.dumps(model))
    results = json.loads((root / "run" / "results.json").read_text()) | {"class_names": NAMES}
    (root / "run" / "results.json").write_text(json.dumps(results))
    return root / "run"


@pytest.fixture(scope="module")
def folder(run):
    """An export of it."""
    out = run.parent / "exported"
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        assert export.main([f"--run={run}", f"--out={out}", f"--format={FORMATS}"]) == 0
    return out


def probabilities(folder):
    program = jax.export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
    return program.call(IMAGES)["probabilities"]


def test_an_export_is_the_model_and_says_what_it_is(run, folder):
    np.testing.assert_allclose(probabilities(folder), load(run)(IMAGES).probabilities, atol=1e-5)
    about = json.loads((folder / "model.json").read_text())
    assert tuple(about["class_names"]) == NAMES and about["image_shape"] == [8, 8, 1] and about["method"] == "ce"
    assert (about["mean"], about["std"], about["resize"]) == ([0.5], [0.25], 8)
    assert about["export"]["input"] == "uint8" and list(about["export"]["formats"]) == FORMATS.split(",")
    assert about["export"]["corrections"] == {"temperature": 1.0, "offset": None, "notes": []}
    assert [path.name for path in sorted(folder.parent.iterdir()) if "partial" in path.name] == []


CODE = """
import pathlib, numpy, jax
model = jax.export.deserialize(bytearray(pathlib.Path("model.stablehlo").read_bytes()))
print(numpy.round(model.call(numpy.load("images.npy"))["probabilities"], 5).tolist())
"""


@pytest.mark.slow
def test_a_fresh_process_without_ltjax_gets_the_same_probabilities(run, folder):
    np.save(folder / "images.npy", IMAGES)
    found = json.loads(alone(CODE, folder))
    (folder / "images.npy").unlink()
    np.testing.assert_allclose(found, load(run)(IMAGES).probabilities, atol=1e-4)


def test_corrections_are_part_of_the_program_and_of_the_card(run, tmp_path, capsys):
    out = tmp_path / "out"
    flags = [f"--run={run}", f"--out={out}", "--format=stablehlo", "--temperature=2", "--logit-adjustment=1"]
    assert export.main(flags) == 0
    logits = np.asarray(load(run)(IMAGES).logits)
    prior = np.array(toy.COUNTS) / sum(toy.COUNTS)
    wanted = jax.nn.softmax((logits - np.log(prior)) / 2)
    np.testing.assert_allclose(probabilities(out), wanted, atol=1e-5)
    card = (out / "README.md").read_text()
    assert "tau 1" in card and "emperature 2" in card
    listed = capsys.readouterr().out
    assert all(f"{out}/{name}" in listed for name in ("README.md", "model.json", "model.stablehlo"))
    named = tmp_path / "named"
    assert export.main([*flags[:1], f"--out={named}", *flags[2:3], "--test-prior=uniform"]) == 0
    np.testing.assert_allclose(probabilities(named), jax.nn.softmax(logits - np.log(prior)), atol=1e-5)


def test_the_card_has_the_numbers_of_the_run_and_metadata_that_parse(run, folder):
    yaml = pytest.importorskip("yaml")
    text = (folder / "README.md").read_text()
    results = json.loads((run / "results.json").read_text())
    _, head, body = text.split("---\n", 2)
    data = yaml.safe_load(head)
    assert data["library_name"] == "ltjax" and data["pipeline_tag"] == "image-classification"
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert result["metrics"][0]["value"] == pytest.approx(results["accuracy"]["all"], abs=1e-5)
    assert result["dataset"]["split"] == "test"
    assert f"{100 * results['accuracy']['all']:.1f}" in body and "42 training images" in body
    assert "rose: a &lt;b&gt;" in body and "- tulip &#124;" in body and "lily\\\\n---" in body  # no cell, no line more
    for part in ("## Use", "## Input", "## Accuracy", "## Calibration", "## Training", "## Limits"):
        assert f"\n{part}\n" in body
    assert "No temperature was fitted" in body and results["train_index_sha256"][:16] in body


def test_a_card_of_many_classes_lists_the_worst(run):
    finished = open_model(str(run), {})
    many = 100
    model = finished.model.__class__(
        **{**vars(finished.model), "class_counts": tuple(range(many, 0, -1)), "class_names": None}
    )
    results = finished.results | {"per_class": [c / many for c in range(many)]}
    about = {"input": "uint8", "corrections": {"temperature": 1.0, "offset": None, "notes": []}, "formats": {}}
    card = write_card("my \U0001f339\udcff", model, finished.config, results, None, about)
    assert '- name: "my \U0001f339\\\\xff"' in card  # an emoji is no pair of escaped surrogates
    assert "The 20 classes of lowest accuracy, of 100" in card and "| 19 | 81 | 19.0 |" in card and "| 20 |" not in card


def card_of(run, offset=None, temperature=1.0, **weights):
    """The card of an export in the formats safetensors, of which ``weights`` are the record, and stablehlo."""
    finished = open_model(str(run), {})
    notes = [] if offset is None and temperature == 1 else ["temperature 2"]
    corrections = {"temperature": temperature, "offset": offset, "notes": notes}
    record = {"files": ["model.safetensors"], "torchvision": False, "corrected": False} | weights
    about = {"input": "uint8", "corrections": corrections, "formats": {"safetensors": record, "stablehlo": {}}}
    return write_card("mine", finished.model, finished.config, finished.results, None, about)


NOT_IN_THE_WEIGHTS = "not in the safetensors weights: apply `logits / temperature + offset`"


def test_the_card_says_of_which_probabilities_the_calibration_error_is(run):
    finished = open_model(str(run), {})
    about = {"input": "uint8", "corrections": {"temperature": 2.0, "offset": None, "notes": []}, "formats": {}}
    record = {"temperature": 2.0, "images": 9, "split": "validation", "ece": {"before": 0.2, "after": 0.1}}
    for corrected in (False, True):
        calibration = record | {"corrected": corrected}
        card = write_card("mine", finished.model, finished.config, finished.results, calibration, about)
        assert "from 0.2000 to 0.1000" in card
        assert ("with the probabilities corrected to their class shares" in card) == corrected


def test_the_card_says_which_files_have_the_corrections(run):
    lacking = card_of(run, temperature=2.0, backbone="toy")
    assert NOT_IN_THE_WEIGHTS in lacking and "Not in the safetensors weights: apply logits / temperature" in lacking
    for complete in (card_of(run, backbone="toy"), card_of(run, temperature=2.0, backbone="toy", corrected=True)):
        assert "safetensors weights" not in complete
    seeds = card_of(run, temperature=2.0, backbone="toy", files=["a.safetensors", "b.safetensors"])
    assert "Average the softmax of these files." in seeds and "logarithm of the average" in seeds


def test_a_card_with_another_prior_states_no_accuracy_of_the_run_in_its_metadata(run):
    heads = [card_of(run, offset=offset, backbone="toy").split("---\n")[1] for offset in (None, [0.0, 0.5, 1.0])]
    assert "model-index:" in heads[0] and "value:" in heads[0]
    assert "model-index" not in heads[1] and "value:" not in heads[1] and "library_name: ltjax" in heads[1]


@pytest.mark.parametrize("files", [["model.safetensors"], ["model-seed0.safetensors", "model-seed1.safetensors"]])
def test_the_lines_for_pytorch_load_every_file_and_average(run, tmp_path, monkeypatch, files):
    pytest.importorskip("torchvision")
    torch, save = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch").save_file
    from torchvision.models.resnet import BasicBlock, ResNet

    card = card_of(run, backbone="resnet10", torchvision=True, files=files)
    code = card.partition("```python\n")[2].partition("```")[0]
    networks = [ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3).eval() for _ in files]
    for network, file in zip(networks, files, strict=True):
        save(network.state_dict(), tmp_path / file)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    x = ((torch.from_numpy(images) / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
    wanted = sum(network(x).softmax(1) for network in networks) / len(files)
    monkeypatch.chdir(tmp_path)
    names = {"images": images}
    exec(code, names)
    np.testing.assert_allclose(names["probabilities"].detach(), wanted.detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--format=onxn"],
            "--format: unknown value 'onxn'; allowed: onnx, safetensors, stablehlo (did you mean 'onnx'?)",
        ),
        (["--format=,"], "--format: names no format"),
        (["--out=OUT"], "exists already; name a new folder"),
        (["--out=OUT/no/where"], "no folder"),
        (["--out=gs://mine/new"], "is written to a disk"),
        (["--run=OUT"], "has no config.json"),
        (["--push=mine"], "--push=mine: is not OWNER/NAME"),
        (["--push=a/b/c"], "--push=a/b/c: is not OWNER/NAME"),
        (["--private"], "--private: without --push it changes nothing"),
        (["--test-prior=estimate"], "an export has no images to estimate from"),
        (["--tta=flip"], "an export is a single pass"),
        (["--temperature=0"], "--temperature: impossible value 0"),
    ],
)
def test_bad_input_is_one_line(run, folder, tmp_path, capsys, flags, words):
    flags = [flag.replace("OUT", str(folder)) for flag in flags]
    assert export.main([f"--run={run}", f"--out={tmp_path}/new", "--format=stablehlo", *flags]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / "new").exists()


def test_an_unfinished_run_is_one_line(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    assert export.main([f"--run={tmp_path / 'run'}", f"--out={tmp_path}/new"]) == 2
    error = capsys.readouterr().err
    assert "is not finished; run its training command again" in error and error.count("\n") == 1


def test_what_fails_leaves_no_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr("ltjax.commands.export_card.write_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.main([f"--run={run}", f"--out={tmp_path}/new", "--format=stablehlo"])
    assert list(tmp_path.iterdir()) == []


class Hub(http.server.BaseHTTPRequestHandler):
    """The calls of a model hub that an upload of small files makes."""

    seen: list = []  # noqa: RUF012
    refuses = False
    private = True

    def do_GET(self):
        self.answer({"id": "me/mine", "sha": "0" * 40, "siblings": [], "private": self.private})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.path, body))
        if self.refuses:
            return self.answer({"error": "Invalid username or password."}, 401)
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self.answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        here = f"http://127.0.0.1:{self.server.server_port}/me/mine"
        made = {"url": here, "name": "me/mine", "id": "me/mine", "success": True}
        return self.answer(made | {"commitOid": "0" * 40, "commitUrl": f"{here}/commit/{'0' * 40}", "hookOutput": ""})

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    """The address of a stand-in, which records what it is sent, and the hub's client set to it."""
    from huggingface_hub import constants

    handler = type("Handler", (Hub,), {"seen": [], "refuses": False})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    yield handler
    server.shutdown()
    server.server_close()


@with_hub
def test_an_export_is_uploaded_when_asked_and_only_then(run, tmp_path, hub, capsys):
    flags = [f"--run={run}", "--format=stablehlo"]
    assert export.main([*flags, f"--out={tmp_path}/one"]) == 0
    assert hub.seen == []
    assert export.main([*flags, f"--out={tmp_path}/two", "--push=me/mine", "--private"]) == 0
    assert "uploaded: " in capsys.readouterr().out
    made = json.loads(next(body for path, body in hub.seen if path.endswith("/repos/create")))
    assert made["name"] == "mine" and made["organization"] == "me"
    assert made.get("private", made.get("visibility")) in (True, "private")  # older and newer clients
    commit = next(body for path, body in hub.seen if "/commit/" in path).decode()
    files = [json.loads(line)["value"]["path"] for line in commit.splitlines() if '"file"' in line]
    assert sorted(files) == ["README.md", "model.json", "model.stablehlo"]


@with_hub
def test_private_weights_are_not_uploaded_to_a_repository_that_is_public_already(run, tmp_path, hub, capsys):
    hub.private = False
    flags = [f"--run={run}", "--format=stablehlo", "--push=me/mine"]
    assert export.main([*flags, f"--out={tmp_path}/one", "--private"]) == 2
    error = capsys.readouterr().err
    assert "--push=me/mine: --private, but this repository is public" in error and error.count("\n") == 1
    assert [path for path, _ in hub.seen if not path.endswith("/repos/create")] == []
    assert export.main([*flags, f"--out={tmp_path}/two"]) == 0


@with_hub
def test_a_hub_that_refuses_is_one_line_and_leaves_the_export(run, tmp_path, hub, capsys):
    hub.refuses = True
    assert export.main([f"--run={run}", "--format=stablehlo", f"--out={tmp_path}/one", "--push=me/mine"]) == 2
    error = capsys.readouterr().err
    assert "--push=me/mine: " in error and "hf upload me/mine" in error and error.count("\n") == 1
    assert (tmp_path / "one" / "README.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_workdir_of_every_method_alone_is_exported_and_evaluated_on_new_pictures(method, tmp_path, monkeypatch):
    config = config_of(method, {"dtype": "float32", "epochs": 2, "second_stage_epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        loop.train(config, str(tmp_path / "there"))
    shutil.move(tmp_path / "there", tmp_path / "here")
    flags = [f"--run={tmp_path / 'here'}", f"--out={tmp_path / 'out'}", f"--format={FORMATS}"]
    assert export.main(flags) == 0
    wanted = load(tmp_path / "here")(IMAGES).probabilities
    np.testing.assert_allclose(probabilities(tmp_path / "out"), wanted, rtol=1e-3, atol=1e-4)
    for label, shade in enumerate((20, 90, 160)):
        write_image(tmp_path / "new" / str(label) / "a.png", shade, kind="PNG")
    assert evaluate.main([f"--run={tmp_path / 'here'}", f"--images={tmp_path / 'new'}"]) == 0
    assert predict.main([f"--run={tmp_path / 'here'}", str(tmp_path / "new")]) == 0
