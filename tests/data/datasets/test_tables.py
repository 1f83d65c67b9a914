"""Image files with labels in tables: CSV with a header, COCO-style JSON."""

import json

import pytest

from ltjax.commands.check.lenient_read import read_leniently
from ltjax.data import build
from ltjax.errors import InputError
from tests.data.conftest import write_image

ROWS = [("a/1.png", "rose"), ("a/2.png", "tulip"), ("b/3.png", "rose"), ("b/4.png", "lily"), ("b/5.png", "tulip")]


@pytest.fixture
def here(image_settings, tmp_path):
    """``here(**settings)``: settings for tables of five images, of the shades 1 to 5; ``here.root``: their folder."""
    for shade, (name, _) in enumerate(ROWS, 1):
        write_image(tmp_path / name, shade, kind="PNG")

    def make(**changes):
        usual = {"name": "csv", "dir": tmp_path, "train_list": "train.csv", "test_fraction": 0.4}
        return image_settings(**(usual | changes))

    make.root = tmp_path
    return make


def error_of(settings):
    with pytest.raises(InputError) as error:
        build(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_csv(path, rows, header=("path", "label"), delimiter=",", encoding="utf-8"):
    path.write_text("\n".join(delimiter.join(map(str, row)) for row in (header, *rows)) + "\n", encoding)
    return path


def annotations(rows, names=("rose", "tulip", "lily")):
    """COCO-style, with category ids 10, 20, 30 and image ids of text."""
    return {
        "images": [{"id": f"x{i}", "file_name": name} for i, (name, _) in enumerate(rows)],
        "categories": [{"id": 10 * (k + 1), "name": name} for k, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": f"x{i}", "category_id": 10 * (names.index(label) + 1)}
            for i, (_, label) in enumerate(rows)
        ],
    }


# CSV


def test_columns_are_named_or_usual(here):
    write_csv(here.root / "train.csv", ROWS)
    write_csv(here.root / "test.csv", [("a/1.png", "lily")], ("file", "class"))
    data = build(here(test_list="test.csv"))
    assert data.class_names == ("lily", "rose", "tulip") and data.class_counts.tolist() == [1, 2, 2]
    assert data.train.labels.tolist() == [1, 2, 1, 0, 2] and data.test.labels.tolist() == [0]
    assert data.train.where(3) == f"{here.root}/b/4.png (line 5 of {here.root}/train.csv)"
    assert data.train.images([3])[0, 8, 8, 0] == 4
    assert "line 2: 'a/1.png' is also a training image (line 2; 1 such images)" in data.notes[0]
    for delimiter in "\t;":
        rows = [(f'"{name}"', 7, label) for name, label in ROWS]
        write_csv(here.root / "train.csv", rows, ("Where", "n", "What"), delimiter, "utf-8-sig")
        write_csv(here.root / "test.csv", [("a/1.png", "lily")], ("Where", "What"))
        found = build(here(test_list="test.csv", image_column="Where", label_column="What"))
        assert found.fingerprint == data.fingerprint
    assert "none of its columns, 'Where', 'n', 'What', is called path; set config.data.image_column" in error_of(here())
    line = error_of(here(image_column="where", label_column="What"))
    assert "has no column 'where'" in line and "did you mean 'Where'?" in line


def test_a_column_says_the_split(here):
    rows = [
        (name, label, split)
        for (name, label), split in zip(ROWS, ["train", "Training", "test", "train", "x"], strict=True)
    ]
    write_csv(here.root / "train.csv", [*rows, ("b/5.png", "rose", "val")], ("path", "label", "split"))
    data = build(here(split_column="split"))
    assert data.train.labels.tolist() == [1, 2, 0] and data.test.labels.tolist() == [1]
    assert data.validation.labels.tolist() == [1]
    assert "1 lines are of no split and are left out, such as line 6: 'x'" in data.notes[0]
    assert "no line of" in error_of(here(split_column="label")) and "they say 'lily'" in error_of(
        here(split_column="label")
    )


def test_labels_are_names_or_numbers(here):
    write_csv(here.root / "train.csv", [(name, {"rose": 1, "tulip": 10, "lily": 2}[label]) for name, label in ROWS])
    data = build(here())
    assert data.class_names == ("1", "2", "10") and "the labels 1 to 10 of the training images are" in data.notes[0]
    (here.root / "names.txt").write_text("rose\nlily\noak\ntulip\n")
    write_csv(here.root / "train.csv", ROWS)
    data = build(here(class_names="names.txt"))
    assert data.class_names == ("rose", "lily", "tulip")
    assert "1 of 4 classes have no training image and are left out: 'oak'" in data.notes[0]
    write_csv(here.root / "train.csv", [*ROWS[:4], ("b/5.png", "tulpi")])
    line = error_of(here(class_names="names.txt"))
    assert "train.csv, line 6: 'b/5.png' has label 'tulpi', which is none of the 4 class names" in line
    assert "did you mean 'tulip'?" in line
    write_csv(here.root / "train.csv", [*ROWS[:4], ("b/5.png", "")])
    assert "line 6: 'b/5.png' has no label (1 such images)" in error_of(here())
    write_csv(here.root / "train.csv", ROWS)
    write_csv(here.root / "test.csv", [("a/1.png", "oak")])
    assert "has label 'oak', which no training image has (1 such images)" in error_of(here(test_list="test.csv"))


def test_minus_one_is_no_label(here):
    numbers = {"rose": 1, "tulip": 10, "lily": 2}
    write_csv(here.root / "train.csv", [(name, numbers[label]) for name, label in ROWS])
    for label in ("-1", ""):
        write_csv(here.root / "test.csv", [("a/1.png", label), ("a/2.png", 10)])
        data = build(here(test_list="test.csv"))
        assert data.class_names == ("1", "2", "10")  # numbers, in their order
        assert "1 of 2 test images have no label; the test images are not used" in data.notes
    write_csv(here.root / "train.csv", [*ROWS[:4], ("b/5.png", -1)])
    assert "line 6: 'b/5.png' has no label (1 such images); add it" in error_of(here())
    (here.root / "names.txt").write_text("-1\n1\n")
    write_csv(here.root / "train.csv", [(name, 1 if label == "rose" else -1) for name, label in ROWS])
    assert build(here(class_names="names.txt")).train.labels.tolist().count(0) == 2  # a class of that name


def test_without_categories_the_numbers_are_the_names(here):
    content = annotations(ROWS) | {"categories": []}
    (here.root / "train.json").write_text(json.dumps(content))
    assert build(here(name="coco", train_list="train.json")).class_names == ("10", "20", "30")


def test_the_same_image_twice_and_paths_that_leave_the_folder(here):
    write_csv(here.root / "train.csv", [*ROWS, ("./a/1.png", "rose"), ("a/../a/2.png", "tulip")])
    data = build(here(test_fraction=0.3))
    assert "2 lines repeat an earlier line and are ignored (the first: line 7 repeats line 2)" in data.notes[0]
    write_csv(here.root / "train.csv", [*ROWS, ("./a/1.png", "lily")])
    line = error_of(here())
    assert "line 2: 'a/1.png'" not in line and "has label 'lily' here and 'rose' in line 2" in line
    write_csv(here.root / "train.csv", [*ROWS, ("../a/1.png", "lily")])
    assert "line 7: '../a/1.png' is outside of config.data.dir" in error_of(here())
    write_csv(here.root / "train.csv", [*ROWS, ("a/6.png", "lily")])
    assert "a/6.png (line 7 of " in (line := error_of(here())) and "missing" in line
    data, found = read_leniently(here())
    assert data is not None and [one.kind for one in found] == ["refused"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the table is empty"),
        (b"path,label\n", "has a header but no images"),
        (b"path,label\na/1.png\n", "line 2: has 1 cells, the header has 2"),
        (b'path,label\na/1.png,"rose\n', "line 2: is no CSV"),
        ("path,label\na/1.png,rosé\n".encode("latin-1"), "line 2: is not UTF-8 text (byte 0xe9); save it as UTF-8"),
        ("path,label\na/1.png,rose\n".encode("utf-16"), "is not plain UTF-8 text"),
        (b"path,label\n,rose\n", "line 2: the path of the image is empty"),
        (b"path,path,label\na,b,c\n", "has several columns 'path'"),
        (b"path,label\na/1.png,rose\na/2.png,rose\n", "and all other images are of one class, 'rose'"),
    ],
)
def test_tables_that_cannot_be_read(here, content, said):
    (here.root / "train.csv").write_bytes(content)
    assert said in error_of(here())


# COCO


def test_annotations_name_the_classes(here):
    train, test = annotations(ROWS), annotations(ROWS[3:4])
    train["images"].append({"id": 7, "file_name": "b/7.png"})
    train["annotations"].append(dict(train["annotations"][0], id=99))  # a second box of the same class
    (here.root / "train.json").write_text(json.dumps(train))
    (here.root / "test.json").write_text(json.dumps(test), "utf-16")
    data = build(here(name="coco", train_list="train.json", test_list="test.json"))
    assert data.class_names == ("rose", "tulip", "lily") and data.train.labels.tolist() == [0, 1, 0, 2, 1]
    assert data.test.labels.tolist() == [2]
    assert data.train.where(4) == f"{here.root}/b/5.png (image 5 of {here.root}/train.json)"
    assert "1 of 6 images have no annotation and are left out" in data.notes[0]
    assert "image 1: 'b/4.png' is also a training image (image 4; 1 such images)" in data.notes[1]


def test_annotations_of_categories_without_images_and_with_equal_names(here):
    content = annotations(ROWS, ("oak", "rose", "tulip", "lily"))
    content["categories"][3]["name"] = "rose"
    (here.root / "train.json").write_text(json.dumps(content))
    data = build(here(name="coco", train_list="train.json", test_fraction=0.3))
    assert data.class_names == ("rose (20)", "tulip", "rose (40)")
    assert "1 of 4 classes have no training image and are left out: 'oak'" in data.notes[0]


def changed(key, value):
    content = annotations(ROWS)
    if value is None:
        del content[key]
    else:
        content[key][0].update(value)
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps(annotations(ROWS))[:200], "is no complete JSON file"),
        ("[" * 100_000, "is no complete JSON file"),
        ("[]", "is not of the form"),
        (changed("annotations", None), "has no annotations; the labels of a published test set are often not public"),
        (changed("categories", None), "has no list 'categories'"),
        (changed("images", {"id": "x1"}), "two entries of 'images' have the same id"),
        (changed("images", {"file_name": 3}), "entry 1 of 'images' has 3 as file_name, which has to be text"),
        (changed("annotations", {"image_id": "y"}), "annotation 1 is of the image 'y', which is not in it"),
        (changed("annotations", {"category_id": "rose"}), "entry 1 of 'annotations' has 'rose' as category_id"),
        (
            changed("annotations", {"category_id": 9}),
            "image 1: 'a/1.png' has the category 9, which is not in 'categories' (1 such images); correct it",
        ),
        (changed("annotations", {"category_id": -1}), "image 1: 'a/1.png' has no label (1 such images)"),
        (
            changed("annotations", {"image_id": "x1", "category_id": 30}),
            "image 2: 'a/2.png' has annotations of 2 categories",
        ),
        (changed("images", {"file_name": "../a/1.png"}), "image 1: '../a/1.png' is outside of config.data.dir"),
    ],
)
def test_annotations_that_cannot_be_read(here, content, said):
    (here.root / "train.json").write_text(content if isinstance(content, str) else json.dumps(content))
    assert said in error_of(here(name="coco", train_list="train.json"))


PAIRS = [(name, n % 2) for n, (name, *_) in enumerate(ROWS)]
AS_JSON = json.dumps(annotations(ROWS))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            AS_JSON,
            {"list": "the file is JSON; annotations in COCO's form are read with format=coco", "csv": "is JSON, not"},
        ),
        (json.dumps(annotations(ROWS), indent=1), {"list": "the file is JSON", "csv": "is JSON, not a table with a"}),
        (
            "".join(f'{{"file_name": "{name}", "label": {label}}}\n' for name, label in PAIRS),
            {"list": "the file is JSON", "csv": "is JSON, not", "coco": "is no complete JSON file (Extra data: line 2"},
        ),
        (
            "path,label\n" + "".join(f"{name},{label}\n" for name, label in PAIRS),
            {"list": "a CSV file with a header is read with format=csv", "coco": "is read with format=csv, a list of"},
        ),
        (
            "".join(f"{name} {label}\n" for name, label in PAIRS),
            {"csv": "a list of lines 'relative/path label' is read without format=", "coco": "is no JSON; a CSV file"},
        ),
        (
            "PK\x03\x04\0 of a spreadsheet",
            dict.fromkeys(("list", "csv", "coco"), "save a spreadsheet as 'CSV UTF-8', which format=csv reads"),
        ),
        ("PAR1\0", dict.fromkeys(("list", "csv", "coco"), "format=parquet reads its folder")),
    ],
    ids=["json", "json in lines", "lines of json", "csv", "list", "spreadsheet", "parquet"],
)
def test_a_file_of_another_form_is_named_with_the_word_that_reads_it(here, content, said):
    (here.root / "train").write_text(content)
    for name, message in said.items():
        assert message in error_of(here(name=name, train_list="train"))


def test_json_of_any_length_is_no_table_at_once(here, monkeypatch):
    monkeypatch.setattr("csv.reader", lambda *args, **kwargs: pytest.fail("parses it"))
    (here.root / "train.json").write_text(AS_JSON)
    assert "is JSON, not a table" in error_of(here(name="csv", train_list="train.json"))
