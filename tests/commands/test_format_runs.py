"""The same photos in every form that config.data.name has for the user's images: main, report, predict, evaluate.

The order of the images is the same everywhere, so the runs have to be equal to the bit.
"""

import csv
import json
import pathlib
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from ltjax.commands import evaluate, predict, report, train

pytestmark = pytest.mark.slow
records = pytest.importorskip("tests.data.datasets.small_records", reason='pip install "ltjax[parquet]"')
COUNTS = {"train": (("ant", 12), ("bee", 6), ("cat", 3)), "test": (("ant", 4), ("bee", 4), ("cat", 4))}


class Photos(NamedTuple):
    """The photos of a split, class after class: paths relative to the folder of all, contents, labels 0 .. C - 1."""

    paths: list[str]
    contents: list[bytes]
    labels: list[int]


def read_photos(root: pathlib.Path) -> tuple[dict[str, Photos], list[str]]:
    """(split -> its photos, class names) of a folder with train/ and test/ of class folders."""
    names = sorted(path.name for path in (root / "train").iterdir())
    found = {}
    for split in ("train", "test"):
        files = [(file, k) for k, name in enumerate(names) for file in sorted((root / split / name).iterdir())]
        paths = [str(file.relative_to(root)) for file, _ in files]
        found[split] = Photos(paths, [file.read_bytes() for file, _ in files], [k for _, k in files])
    return found, names


def as_folder(root, made, photos, names):
    return {"dir": root}


def as_lists(root, made, photos, names):
    for split, one in photos.items():
        (made / f"{split}.txt").write_text("".join(f"{p} {k}\n" for p, k in zip(one.paths, one.labels, strict=True)))
    return {"dir": root, "train_list": made / "train.txt", "test_list": made / "test.txt"}


def as_csv(root, made, photos, names):
    for split, one in photos.items():
        with (made / f"{split}.csv").open("w", newline="") as file:
            rows = zip(one.paths, [names[k] for k in one.labels], strict=True)
            csv.writer(file).writerows([("path", "label"), *rows])
    return {"dir": root, "train_list": made / "train.csv", "test_list": made / "test.csv"}


def as_coco(root, made, photos, names):
    for split, one in photos.items():
        content = {
            "images": [{"id": i, "file_name": path} for i, path in enumerate(one.paths)],
            "categories": [{"id": 10 * k, "name": name} for k, name in enumerate(names)],
            "annotations": [{"id": i, "image_id": i, "category_id": 10 * k} for i, k in enumerate(one.labels)],
        }
        (made / f"{split}.json").write_text(json.dumps(content))
    return {"dir": root, "train_list": made / "train.json", "test_list": made / "test.json"}


def as_parquet(root, made, photos, names):
    for split, one in photos.items():
        half = len(one.labels) // 2
        for n, part in enumerate((slice(None, half), slice(half, None))):
            path = made / f"data/{split}-{n:05}-of-00002.parquet"
            records.write_parquet(path, one.contents[part], one.labels[part], names=names)
    return {"dir": made}


def as_arrow(root, made, photos, names):
    for split, one in photos.items():
        half = len(one.labels) // 2
        parts = [
            records.table(one.contents[part], one.labels[part], names)
            for part in (slice(None, half), slice(half, None))
        ]
        records.write_arrow(made / split, parts)
    (made / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    return {"dir": made}


def as_tars(root, made, photos, names):
    for split, one in photos.items():
        members = [
            member
            for i, (content, k) in enumerate(zip(one.contents, one.labels, strict=True))
            for member in ((f"{i:05}.jpg", content), (f"{i:05}.cls", names[k].encode()))
        ]
        records.write_tar(made / f"{split}-000000.tar", members)
    return {"dir": made}


# data.name -> the config file that reads it, and what writes it and returns the settings of config.data
FORMS = {
    "folder": ("folder_ce.py", as_folder),
    "list": ("list_ce.py", as_lists),
    "csv": ("list_ce.py:format=csv", as_csv),
    "coco": ("list_ce.py:format=coco", as_coco),
    "parquet": ("folder_ce.py:format=parquet", as_parquet),
    "arrow": ("folder_ce.py:format=arrow", as_arrow),
    "webdataset": ("folder_ce.py:format=webdataset", as_tars),
}


def of_each_form(root: pathlib.Path, out: pathlib.Path, flags: list[str]) -> dict[str, dict[str, object]]:
    """data.name -> what a run on these photos, its predictions and its evaluation say."""
    photos, names = read_photos(root)
    found = {}
    for form, (config, write) in FORMS.items():
        made, workdir = out / form, out / f"run_{form}"
        made.mkdir(parents=True)
        settings = [f"--config.data.{key}={value}" for key, value in write(root, made, photos, names).items()]
        assert train.main([f"--config=configs/{config}", f"--workdir={workdir}", *settings, *flags]) == 0
        assert report.main([f"--run={workdir}"]) == 0
        assert predict.main([f"--run={workdir}", str(root / "test"), f"--out={out}/{form}.csv"]) == 0
        assert evaluate.main([f"--run={workdir}", f"--out={out}/{form}.json"]) == 0
        results, again = (json.loads(path.read_text()) for path in (workdir / "results.json", out / f"{form}.json"))
        found[form] = {
            "classes": (results["class_names"], results["class_counts"]),
            "accuracy": results["accuracy"],
            "evaluated": again["accuracy"],
            "predictions": (out / f"{form}.csv").read_text(),
            "test images": [
                {key: cell for key, cell in row.items() if key not in ("path", "index")}  # of a CSV file: its line
                for row in csv.DictReader((workdir / "predictions.csv").open())
            ],
            "report": (workdir / "report" / "report.html").is_file(),
        }
    return found


def test_the_same_photos_give_the_same_run_in_every_form(tmp_path):
    random = np.random.default_rng(0)
    for split, classes in COUNTS.items():
        for k, (name, count) in enumerate(classes):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(60 * k, 60 * k + 120, (24, 20 + i, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{i:02}.jpg")
    flags = ["data.image_size=16", "data.resize=18", "data.augment=crop16_flip", "data.workers=0", "epochs=2"]
    flags += ["batch_size=8", "model.backbone=resnet8", "optimizer.schedule.warmup_epochs=0"]
    found = of_each_form(tmp_path / "photos", tmp_path / "out", [f"--config.{flag}" for flag in flags])
    wanted = found["list"]
    assert wanted["report"] and wanted["classes"] == (["ant", "bee", "cat"], [12, 6, 3])
    assert wanted["accuracy"] == wanted["evaluated"] and len(wanted["test images"]) == 12
    for form, one in found.items():
        for key, value in wanted.items():
            assert one[key] == value, (form, key)
