"""Folders as people have them: each shape, and the line that comes out, of a run, the audit and the preparation."""

import io
import os

import pytest
from PIL import Image

from ltjax.commands import train
from ltjax.commands.check import command as check
from ltjax.commands.prepare import shards as prepare
from ltjax.data import build
from ltjax.data.storage.image_folder import scan_class_folders
from ltjax.errors import InputError
from ltjax.settings import DataSettings


def images(*folders, count=2):
    return [f"{folder}/{i}.jpg" for folder in folders for i in range(count)]


def jpeg(shade):
    content = io.BytesIO()
    Image.new("RGB", (20, 20), (shade, shade, shade)).save(content, "JPEG")
    return content.getvalue()


def unpacked(root, files):
    """The folder with these files, no two images alike."""
    for number, name in enumerate(files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number) if name.endswith(".jpg") and "/._" not in name else b"x,y\n")
    return root


def line_of(root):
    with pytest.raises(InputError) as error:
        build(DataSettings(name="folder", dir=str(root), imbalance=1.0, image_size=16, resize=16, test_fraction=0.5))
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(root), "DIR")


WITH_LIST = "and use it with --config=configs/list_ce.py --config.data.train_list=FILE"
OWN_FOLDER = "move the images of each class into a folder of its own, or write a list file"
TWO_CLASSES = "but a run needs images of at least two classes in class folders; write a list file"

# shape -> files, the line
REFUSED = {
    "one level too many: photos/flowers/rose": (
        images("flowers/rose", "flowers/tulip"),
        "DIR: 'flowers' is its only folder with images and holds folders of images itself ('rose', 'tulip'), one level "
        "too deep; use --config.data.dir=DIR/flowers",
    ),
    "two levels, beside a README and a zip's __MACOSX": (
        [*images("a b/flowers/rose", "a b/flowers/tulip"), "README.md", "__MACOSX/a b/._0.jpg"],
        "DIR: 'a b' is its only folder with images and holds folders of images itself ('flowers'), one level too deep; "
        "use --config.data.dir='DIR/a b/flowers'",
    ),
    "archive/train and archive/test": (
        [*images("archive/train/rose", "archive/train/tulip", "archive/test/rose", "archive/test/tulip"), "x.csv"],
        "DIR: 'archive' is its only folder with images and holds folders of images itself ('test', 'train'), one level "
        "too deep; use --config.data.dir=DIR/archive",
    ),
    "archive/train beside another data set": (
        images("a/train/rose", "a/train/tulip", "a/test/rose", "b/train/cat", "b/train/dog", "b/test/cat"),
        "DIR: 'a' is not a class beside the others and holds folders of images itself ('test', 'train'), one level too "
        "deep; use --config.data.dir=DIR/a",
    ),
    "train/train and test/test": (
        images("train/train/rose", "train/train/tulip", "test/test/rose", "test/test/tulip"),
        "DIR/train: 'train' holds the class folders ('rose', 'tulip'), one level too deep; move them up: mv "
        "DIR/train/train/* DIR/train/ && rmdir DIR/train/train",
    ),
    "train/ as it should be, test/test": (
        images("train/rose", "train/tulip", "test/test/rose", "test/test/tulip"),
        "DIR/test/test: holds the class folders ('rose', 'tulip'), one level too deep; move them up: mv "
        "DIR/test/test/* DIR/test/ && rmdir DIR/test/test",
    ),
    "seg_train/seg_train, seg_test/seg_test, and unlabelled seg_pred/seg_pred": (
        images(*(f"{one}/{one}/{name}" for one in ("seg_train", "seg_test") for name in "ab"), "seg_pred/seg_pred"),
        "DIR: 'seg_test', 'seg_train' look like splits, which are called train, test and val; rename them: mv "
        "DIR/seg_test/seg_test DIR/test && mv DIR/seg_train/seg_train DIR/train",
    ),
    "train_images, val_images, and flat test_images": (
        images("train_images/rose", "train_images/tulip", "val_images/rose", "val_images/tulip", "test_images"),
        "DIR: 'train_images', 'val_images' look like splits, which are called train, test and val; rename them: mv "
        "DIR/train_images DIR/train && mv DIR/val_images DIR/val",
    ),
    "flat train/cat.1.jpg and test/1.jpg": (
        ["train/cat.1.jpg", "train/dog.1.jpg", "test/1.jpg", "test/2.jpg"],
        f"DIR: 'test', 'train' hold images but no class folders; {OWN_FOLDER} with a line such as "
        f"'train/cat.1.jpg 0' for each image, {WITH_LIST}",
    ),
    "flat train_images and test_images beside train.csv": (
        [*images("train_images", "test_images"), "train.csv", "sample_submission.txt"],
        f"DIR: 'test_images', 'train_images' hold images but no class folders; {OWN_FOLDER} from 'train.csv', which "
        f"probably has the labels, with a line such as 'train_images/0.jpg 0' for each image, {WITH_LIST}",
    ),
    "a single class folder": (
        images("rose"),
        "DIR: only 'rose' holds images, but a run needs images of at least two classes in class folders; add a "
        "folder for each other class, or set config.data.dir to the folder that has them",
    ),
    "class folders inside images/, beside annotations": (
        [*images("images/rose", "images/tulip"), "annotations/1.xml", "labels.txt"],
        "DIR: 'images' is its only folder with images and holds folders of images itself ('rose', 'tulip'), one "
        "level too "
        "deep; use --config.data.dir=DIR/images",
    ),
    "class folders inside images/, beside masks/": (
        images("images/rose", "images/tulip", "masks/rose", "masks/tulip"),
        "DIR: 'images' is not a class beside the others and holds folders of images itself ('rose', 'tulip'), one "
        "level "
        "too deep; use --config.data.dir=DIR/images",
    ),
    "flat images/ and masks/": (
        images("images", "masks"),
        f"DIR: 'images', 'masks' are no classes, {TWO_CLASSES} with a line such as 'images/0.jpg 0' for each image, "
        f"{WITH_LIST}",
    ),
    "the classes, and a copy of all of them in a folder": (
        images("rose", "tulip", "flowers/rose", "flowers/tulip"),
        "DIR: 'flowers' is not a class beside the others and holds folders of images itself ('rose', 'tulip'), one "
        "level "
        "too deep; use --config.data.dir=DIR/flowers",
    ),
    "a csv of labels beside flat images": (
        ["labels.csv", *images("images")],
        f"DIR: only 'images' holds images, {TWO_CLASSES} from 'labels.csv', which probably has the labels, with a "
        "line such "
        f"as 'images/0.jpg 0' for each image, {WITH_LIST}",
    ),
    "images and a csv, no folder": (
        ["a.jpg", "b.jpg", "labels.csv"],
        f"DIR: holds images but contains no class folders; {OWN_FOLDER} from 'labels.csv', which probably has the "
        "labels, "
        f"with a line such as 'a.jpg 0' for each image, {WITH_LIST}",
    ),
    "a detector's train/images and train/labels": (
        [*images("train/images", "valid/images"), "train/labels/1.txt", "valid/labels/1.txt"],
        f"DIR/train: only 'images' holds images, {TWO_CLASSES} with a line such as 'train/images/0.jpg 0' for each "
        "image, "
        f"{WITH_LIST}",
    ),
    "an archive that is not unpacked": (
        ["flowers.zip"],
        "DIR: contains no class folders; unpack 'flowers.zip' first",
    ),
    "train and test with other class names": (
        images("train/Red Rose", "train/tulip", "test/red_rose", "test/Tulip "),
        "DIR/test/Tulip : the training images call this class 'tulip' (2 such folders); rename it: mv "
        "'DIR/test/Tulip ' "
        "DIR/test/tulip && mv DIR/test/red_rose 'DIR/test/Red Rose'",
    ),
    "composed letters in train, decomposed ones in test": (
        images("train/ros\u00e9", "train/tulip", "test/rose\u0301"),
        "DIR/test/rose\u0301: the training images call this class 'ros\u00e9' (1 such folders); rename it: mv "
        "'DIR/test/rose\u0301' 'DIR/test/ros\u00e9'",
    ),
    "train_images/rose, and flat test_images and docs/": (
        images("train_images/rose", "train_images/tulip", "test_images", "docs"),
        "DIR: 'train_images' looks like a split, which is called train, test or val; rename it: mv DIR/train_images "
        "DIR/train",
    ),
    "two like-named training folders": (
        images("train_1/rose", "train_1/tulip", "train_2/rose", "train_2/tulip", "test_1/rose", "test_1/tulip"),
        "DIR: 'test_1', 'train_1', 'train_2' look like splits, which are called train, test and val; rename them "
        "and merge 'train_2' into them: mv DIR/test_1 DIR/test && mv DIR/train_1 DIR/train",
    ),
    "train_images/rose with an image beside it, and test_images/rose": (
        images("train_images", "train_images/rose", "train_images/tulip", "test_images/rose", "test_images/tulip"),
        "DIR: 'test_images', 'train_images' look like splits, which are called train, test and val; rename them: mv "
        "DIR/test_images DIR/test && mv DIR/train_images DIR/train",
    ),
    "seg_train/ beside test/test": (
        images("seg_train/rose", "seg_train/tulip", "test/test/rose", "test/test/tulip"),
        "DIR: 'seg_train', 'test' look like splits, which are called train, test and val; rename them: mv "
        "DIR/seg_train DIR/train && mv DIR/test/test/* DIR/test/ && rmdir DIR/test/test",
    ),
    "a split inside each class": (
        images(*(f"{name}/{split}" for name in ("bottle", "cable") for split in ("train/good", "test/good"))),
        "DIR: 'bottle', 'cable' have splits inside ('test', 'train'); put the splits outside, such as "
        "DIR/test/bottle/ and DIR/train/bottle/, or write a list file with a line such as 'bottle/test/good/0.jpg 0' "
        f"for each image, {WITH_LIST}",
    ),
    "a split inside each of many classes, without class folders": (
        images(*(f"{name}/{split}" for name in "abcd" for split in ("train", "val"))),
        "DIR: 'a', 'b', 'c', ... have splits inside ('train', 'val'); put the splits outside, such as "
        "DIR/train/a/ and DIR/val/a/, or write a list file with a line such as 'a/train/0.jpg 0' "
        f"for each image, {WITH_LIST}",
    ),
    "val and valid": (
        images("train/rose", "train/tulip", "val/rose", "valid/rose"),
        "DIR: both val/ and valid/ could be the validation images; remove or rename one",
    ),
    "test without train": (
        images("test/rose", "test/tulip"),
        "DIR: has DIR/test, but no train/ of class folders; add it, or set config.data.dir to a folder of class "
        "folders",
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", REFUSED)
def test_each_shape_is_refused_with_the_command_that_is_meant(tmp_path, shape):
    files, line = REFUSED[shape]
    assert line_of(unpacked(tmp_path / "photos", files)) == line


# shape -> files, classes, training images of each, what the notes must say
READ = {
    "a zip's __MACOSX": (
        [*images("rose", "tulip"), "__MACOSX/rose/._0.jpg", "__MACOSX/._rose"],
        {"rose": 1, "tulip": 1},
        "1 x __MACOSX/",
    ),
    "a file manager's previews": ([*images("rose", "tulip", "rose/@eaDir/0.jpg")], {"rose": 1, "tulip": 1}, "@eaDir/"),
    "notebook checkpoints": (
        images("rose", "tulip", ".ipynb_checkpoints", "rose/.ipynb_checkpoints"),
        {"rose": 1, "tulip": 1},
        "held out",
    ),
    "TRAIN and Test": (images("TRAIN/rose", "TRAIN/tulip", "Test/rose", "Test/tulip"), {"rose": 2, "tulip": 2}, ""),
    "a class called train": (images("car", "train", "tram"), {"car": 1, "train": 1, "tram": 1}, "held out"),
    "a class called train_station": (images("bus_stop", "train_station"), {"bus_stop": 1, "train_station": 1}, ""),
    "all classes are folders of folders": (
        images("animals/cat", "animals/dog", "plants/rose", "plants/tulip"),
        {"animals": 2, "plants": 2},
        "all 2 classes are folders of folders of images (animals/cat); for the inner ones as classes, set "
        "config.data.dir",
    ),
    "a class called bullet_train, with folders inside": (
        images(*(f"{name}/{time}" for name in ("car", "bus", "bullet_train") for time in ("day", "night"))),
        {"bullet_train": 2, "bus": 2, "car": 2},
        "",
    ),
    "a class called bullet_train, with images beside its folders": (
        images("car", "bullet_train", "bullet_train/day", "bullet_train/night"),
        {"bullet_train": 3, "car": 1},
        "",
    ),
    "only classes of trains, one with folders inside": (
        images("steam_train", "bullet_train/day", "bullet_train/night"),
        {"bullet_train": 2, "steam_train": 1},
        "",
    ),
    "classes called steam_train and test_tube": (
        images("steam_train", "test_tube"),
        {"steam_train": 1, "test_tube": 1},
        "",
    ),
    "the same with folders inside, beside others": (
        images("steam_train/a", "steam_train/b", "test_tube/a", "test_tube/b", "cup"),
        {"cup": 1, "steam_train": 2, "test_tube": 2},
        "",
    ),
    "numbered folders in numbered classes": (
        images(*(f"{name}/{inside}" for name in "012" for inside in "012")),
        {"0": 3, "1": 3, "2": 3},
        "all 3 classes are folders of folders of images (0/0)",
    ),
    "classes called image and mask beside others": (
        images("car", "dog", "image", "mask"),
        {"car": 1, "dog": 1, "image": 1, "mask": 1},
        "",
    ),
    "a class called data, of one folder, beside others": (
        images("data/a", "phone", "car"),
        {"car": 1, "data": 1, "phone": 1},
        "",
    ),
    "classes called test, images and 1 beside others": (
        images("1", "images", "rose", "test"),
        {"1": 1, "images": 1, "rose": 1, "test": 1},
        "",
    ),
    "ImageNet": (
        images("train/n01440764", "train/n01443537", "val/n01440764", "val/n01443537"),
        {"n01440764": 2, "n01443537": 2},
        "",
    ),
    "a class called train, with folders inside, beside others": (
        images(*(f"{name}/{time}" for name in ("car", "bus", "train") for time in ("day", "night"))),
        {"day": 1, "night": 1},
        "photos: 'bus', 'car' beside train/ hold images, which are not read",
    ),
    "CUB's images": (
        images("001.Black_footed_Albatross", "002.Laysan_Albatross"),
        {"001.Black_footed_Albatross": 1, "002.Laysan_Albatross": 1},
        "",
    ),
    "Places": (
        images("t/train_interior", "t/train_station/platform", "a/abbey", "a/alley"),
        {"a": 2, "t": 2},
        "all 2 classes are folders of folders",
    ),
    "iNaturalist": (
        images("Birds/12", "Birds/7", "Plants/3", "Plants/4", "Fungi/9"),
        {"Birds": 2, "Fungi": 1, "Plants": 2},
        "all 3 classes are folders of folders",
    ),
    "two spellings of a class": (
        images("Rose", "rose ", "tulip"),
        {"Rose": 1, "rose ": 1, "tulip": 1},
        "'Rose' and 'rose ', which differ in case or spaces, are two classes",
    ),
}


@pytest.mark.parametrize("shape", READ)
def test_each_shape_that_can_be_read_is_read_with_a_note(tmp_path, shape):
    files, classes, note = READ[shape]
    root = unpacked(tmp_path / "photos", files)
    data = build(DataSettings(name="folder", dir=str(root), imbalance=1.0, image_size=16, resize=16, test_fraction=0.5))
    assert dict(zip(data.class_names, data.class_counts.tolist(), strict=True)) == classes
    assert note in " ".join(data.notes)


def test_a_class_of_one_image_is_read(tmp_path):
    root = unpacked(tmp_path, [*images("train/rose"), "train/lily/0.jpg", *images("test/rose", "test/lily")])
    settings = DataSettings(name="folder", dir=str(root), imbalance=1.0, image_size=16, resize=16)
    assert build(settings).class_counts.tolist() == [1, 2]


def test_the_levels_of_classes_whose_labels_do_not_ascend(tmp_path, capsys):
    folders = [f"{one}/{inside}" for one in ("train/c", "test/a", "test/b", "test/c") for inside in "xy"]
    root = unpacked(tmp_path / "photos", images(*folders))
    examples, inner = scan_class_folders(str(root / "test"), ("c",)).levels()
    assert examples == {name: f"{name}/x/0.jpg" for name in "abc"} and inner == {name: ["x", "y"] for name in "abc"}
    assert check.main([f"--folder={root}", f"--out={tmp_path}/c", "--workers=1"]) == 1
    assert "'c' holds the class folders ('x', 'y'), one level too deep" in capsys.readouterr().out


def test_the_suggested_command_works(tmp_path):
    root = unpacked(tmp_path / "photos", images("a/flowers/rose", "a/flowers/tulip"))
    folder = line_of(root).partition("--config.data.dir=")[2].replace("DIR", str(root))
    settings = DataSettings(name="folder", dir=folder, imbalance=1.0, image_size=16, resize=16, test_fraction=0.5)
    assert build(settings).class_names == ("rose", "tulip")
    unpacked(tmp_path / "seg", REFUSED["seg_train/seg_train, seg_test/seg_test, and unlabelled seg_pred/seg_pred"][0])
    commands = line_of(tmp_path / "seg").partition("rename them: ")[2].replace("DIR", str(tmp_path / "seg"))
    assert os.system(commands) == 0
    settings = DataSettings(name="folder", dir=str(tmp_path / "seg"), imbalance=1.0, image_size=16, resize=16)
    assert build(settings).class_names == ("a", "b")


def test_a_class_folder_or_a_split_given_in_place_of_the_folder_around_it(tmp_path):
    unpacked(tmp_path, images("photos/rose", "photos/tulip", "set/train/rose", "set/train/tulip", "set/test/rose"))
    assert f"use --config.data.dir={tmp_path}/photos, or move" in line_of(tmp_path / "photos/rose")
    settings = DataSettings(name="folder", dir=f"{tmp_path}/set/train", imbalance=1.0, image_size=16, resize=16)
    note = f"{tmp_path}/set/train: 'test' beside it is not read; for it, use --config.data.dir={tmp_path}/set"
    assert note in build(settings).notes


@pytest.fixture
def flowers(tmp_path):
    return unpacked(tmp_path / "photos", images("flowers/rose", "flowers/tulip"))


def test_a_run_refuses_in_one_line(flowers, tmp_path, capsys):
    arguments = ["--config=configs/folder_ce.py", f"--workdir={tmp_path}/run", f"--config.data.dir={flowers}"]
    assert train.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and message.endswith(f"use --config.data.dir={flowers}/flowers\n")


def test_audit_and_preparation_refuse_in_the_words_of_their_flags(flowers, tmp_path, capsys):
    assert check.main([f"--folder={flowers}", f"--out={tmp_path}/c", "--workers=1"]) == 1
    printed = capsys.readouterr().out
    assert f"a run would stop at once: {flowers}: 'flowers' is its only folder" in printed
    assert f"use --folder={flowers}/flowers [refused]" in printed and "config.data.dir" not in printed
    assert prepare.main([f"--folder={flowers}", f"--out={tmp_path}/s", "--workers=1"]) == 2
    assert capsys.readouterr().err.endswith(f"use --folder={flowers}/flowers\n")


@pytest.mark.parametrize("command", [check, prepare])
def test_errors_name_the_flag_that_was_given(tmp_path, capsys, command):
    out = f"--out={tmp_path}/out"
    assert command.main([f"--folder={tmp_path}/no", out]) == 2
    assert capsys.readouterr().err.startswith(f"error: --folder: '{tmp_path}/no' cannot be read (No such file")
    (tmp_path / "list.txt").write_text("rose/0.jpg 0\ntulip/0.jpg 1\n")
    assert command.main([f"--list={tmp_path}/list.txt", f"--root={tmp_path}/no", out]) == 2
    assert capsys.readouterr().err.startswith(f"error: --root: '{tmp_path}/no' does not exist; set it")
    assert command.main([f"--list={tmp_path}/no.txt", f"--root={tmp_path}/photos", out]) == 2
    message = capsys.readouterr().err
    assert "config." not in message and message.startswith(f"error: {tmp_path}/no.txt: ")
