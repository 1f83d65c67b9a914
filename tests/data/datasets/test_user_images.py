"""The user's images in class folders and list files: small sets written here, and a real one."""

import pickle
import tarfile

import numpy as np
import pytest

from ltjax.data import build
from ltjax.data.datasets import holdout
from ltjax.data.storage.image_files import ImageFiles, find_files, missing_files
from ltjax.data.storage.image_folder import read_class_folders
from ltjax.data.storage.packed_names import PackedNames
from ltjax.errors import InputError
from tests.data.conftest import write_image
from tests.shared import shared_path


def error_of(settings):
    with pytest.raises(InputError) as error:
        build(settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def make_folder(root, counts, shade=0):
    """Class folders with these numbers of images; the n-th image of all has the shade n."""
    for name, count in counts.items():
        for number in range(count):
            write_image(root / name / f"{number:02}.jpg", shade)
            shade += 1
    return root


def make_list(path, rows):
    path.write_text("".join(f"{name} {label}\n" for name, label in rows))
    return path


# Folders


def test_train_val_and_test_folders(image_settings, tmp_path):
    make_folder(tmp_path / "train", {"tulip": 3, "Rose": 2})
    make_folder(tmp_path / "val", {"tulip": 1, "Rose": 1}, 100)
    make_folder(tmp_path / "test", {"tulip": 2}, 200)
    data = build(image_settings(name="folder", dir=tmp_path))
    assert (data.class_names, data.num_classes, data.class_counts.tolist()) == (("Rose", "tulip"), 2, [2, 3])
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 0, 1, 1, 1], [1, 1])
    assert data.validation.labels.tolist() == [0, 1] and data.split == "test" and data.image_shape == (16, 16, 3)
    images = data.train.images(np.arange(5))
    assert images.shape == (5, 16, 16, 3) and images[:, 8, 8, 0].tolist() == [3, 4, 0, 1, 2]
    (tmp_path / "names.txt").write_text("a rose\na tulip\n")
    assert build(image_settings(name="folder", dir=tmp_path, class_names="names.txt")).class_names[1] == "a tulip"
    assert data.train.encoded(2) == (tmp_path / "train/tulip/00.jpg").read_bytes()
    assert data.train.where(2) == f"{tmp_path}/train/tulip/00.jpg"
    assert data.notes == (f"{tmp_path}: 1 of 2 classes have no test image; accuracies do not include them",)


def test_a_val_folder_alone_is_the_test_set(image_settings, tmp_path):
    make_folder(tmp_path / "Training", {"a": 2, "b": 2})
    make_folder(tmp_path / "val", {"a": 1, "b": 1})
    data = build(image_settings(name="folder", dir=str(tmp_path)))
    assert data.test.labels.tolist() == [0, 1] and data.validation is None
    assert data.notes == (f"{tmp_path}: there is no test folder; {tmp_path}/val is the test set",)


def test_without_a_test_folder_a_part_of_every_class_is_held_out_and_reported(image_settings, tmp_path):
    make_folder(tmp_path, {"a": 10, "b": 5, "c": 1})
    data = build(image_settings(name="folder", dir=tmp_path))
    _, held = holdout.hold_out(np.repeat([0, 1, 2], [10, 5, 1]), 3, 0.2, 0)
    assert data.test.index.tolist() == held.tolist() and data.test.labels.tolist() == [0, 0, 1]
    assert data.class_counts.tolist() == [8, 4, 1]
    assert "there are no test images; 3 of 16 images are held out for testing, 20% of every class" in data.notes[0]
    assert build(image_settings(name="folder", dir=tmp_path)).fingerprint == data.fingerprint
    assert build(image_settings(name="folder", dir=tmp_path, selection_seed=1)).fingerprint != data.fingerprint
    assert error_of(image_settings(name="folder", dir=tmp_path, test_fraction=0.0)).startswith(
        "config.data.test_fraction: 0.0 of"
    )
    both = build(image_settings(name="folder", dir=tmp_path, validation_fraction=0.25, validation_use="choose"))
    assert (both.test.index == data.test.index).all() and both.validation.labels.tolist() == [0, 0, 1]


def test_renaming_an_image_changes_the_fingerprint(image_settings, tmp_path):
    one = build(image_settings(name="folder", dir=make_folder(tmp_path / "1", {"a": 5, "b": 5})))
    (tmp_path / "1/a/00.jpg").rename(tmp_path / "1/a/0.jpg")
    assert build(image_settings(name="folder", dir=tmp_path / "1")).fingerprint != one.fingerprint


def test_other_files_are_skipped_and_counted_in_one_line(image_settings, tmp_path):
    make_folder(tmp_path / "train", {"a": 2, "b": 1, "b/inner": 1})
    make_folder(tmp_path / "test", {"a": 1, "b": 1})
    for name in (
        "a/.DS_Store",
        "b/.DS_Store",
        "a/._01.jpg",
        "b/Thumbs.db",
        "b/notes.txt",
        "readme.md",
        ".hidden/1.jpg",
    ):
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "train" / name).write_text("x")
    (tmp_path / "train/a/2.PNG").write_bytes(write_image(tmp_path / "x.png", 7, kind="PNG").read_bytes())
    (tmp_path / "train/b/back").symlink_to(tmp_path / "train/b")
    data = build(image_settings(name="folder", dir=tmp_path))
    assert data.class_counts.tolist() == [3, 2]
    assert data.notes == (
        f"{tmp_path}/train: skipped 6 files that have no image extension or lie beside "
        "class folders (1 x *.md, 1 x *.txt, 2 x .DS_Store, "
        "1 x ._*, 1 x Thumbs.db)",
    )


def test_a_class_called_train_and_a_folder_of_unlabelled_images_are_not_splits(image_settings, tmp_path):
    data = build(image_settings(name="folder", dir=make_folder(tmp_path / "1", {"car": 5, "train": 5})))
    assert data.class_names == ("car", "train")
    make_folder(tmp_path / "2/train", {"a": 5, "b": 5})
    make_folder(tmp_path / "2", {"test": 3})
    data = build(image_settings(name="folder", dir=tmp_path / "2"))
    assert data.notes[0] == f"{tmp_path}/2/test: contains no class folders and is skipped"
    assert "there are no test images; 2 of 10" in data.notes[1]


def test_impossible_folders_are_errors_of_one_line(image_settings, tmp_path):
    assert (
        error_of(image_settings(name="folder"))
        == "config.data.dir is missing: set it, or LTJAX_DATA_DIR, to the folder that holds the images"
    )
    assert "cannot be read (No such file or directory)" in error_of(image_settings(name="folder", dir=tmp_path / "no"))
    write_image(tmp_path / "flat/1.jpg", 0)
    assert "contains no class folders" in error_of(image_settings(name="folder", dir=tmp_path / "flat"))
    make_folder(tmp_path / "some", {"a": 2, "c": 2})
    (tmp_path / "some/b").mkdir()
    assert error_of(image_settings(name="folder", dir=tmp_path / "some")).startswith(
        f"{tmp_path}/some/b: a class folder without"
    )
    make_folder(tmp_path / "more/train", {"a": 2, "d": 2})
    make_folder(tmp_path / "more/test", {"a": 1, "b": 1, "c": 1})
    message = error_of(image_settings(name="folder", dir=tmp_path / "more"))
    assert (
        message.startswith(f"{tmp_path}/more/test/b: the training images have no class folder of this name")
        and "(2" in message
    )
    make_folder(tmp_path / "tests/test", {"a": 1})
    assert "but no train/" in error_of(image_settings(name="folder", dir=tmp_path / "tests"))
    assert "prepare shards of it" in error_of(image_settings(name="folder", dir="gs://bucket/set"))


def test_an_imbalance_and_impossible_sizes_are_errors_of_one_line(image_settings, tmp_path):
    make_folder(tmp_path, {"a": 5, "b": 5})
    message = error_of(image_settings(name="folder", dir=tmp_path, imbalance=50.0))
    assert message.startswith("config.data.imbalance: 50.0 is not possible for folder")
    message = error_of(image_settings(name="folder", dir=tmp_path, image_size=32, resize=31))
    assert message.startswith("config.data.resize: 31 is not possible with image_size 32")


def test_a_resize_far_above_the_image_size_is_refused_with_what_to_do(image_settings, tmp_path):
    """A network trained on whole pictures of 64 pixels and tested on centres of 64 of 256 lost half its accuracy."""
    make_folder(tmp_path, {"a": 5, "b": 5})
    message = error_of(image_settings(name="folder", dir=tmp_path, image_size=64, resize=256))
    assert message == (
        "config.data.resize: 256 with config.data.image_size=64 would evaluate the central 6% of a square picture "
        "only; set config.data.resize=73, or write the word :image_size=64 behind the config file, which moves crop, "
        "resize and augmentation"
    )
    assert build(image_settings(name="folder", dir=tmp_path, image_size=64, resize=96)).image_shape == (64, 64, 3)


# Lists


def rows(*counts, folder="train"):
    return [(f"{folder}/c {label}/{i}.jpg", label) for label, count in enumerate(counts) for i in range(count)]


@pytest.fixture
def listed(tmp_path):
    """A folder with the images (root/) and the lists train.txt, val.txt and test.txt."""
    for split, counts in (("train", (3, 2)), ("val", (1, 1)), ("test", (2, 1))):
        for shade, (name, _) in enumerate(rows(*counts, folder=split)):
            write_image(tmp_path / "root" / name, 10 * shade)
        make_list(tmp_path / f"{split}.txt", rows(*counts, folder=split))
    return tmp_path


@pytest.fixture
def of_lists(image_settings, listed):
    def make(**changes):
        usual = {f"{split}_list": str(listed / f"{split}.txt") for split in ("train", "val", "test")}
        return image_settings(**({"name": "list", "dir": str(listed / "root")} | usual | changes))

    return make


def test_lists_of_all_splits(of_lists, listed):
    data = build(of_lists())
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 0, 0, 1, 1], [0, 0, 1])
    assert data.validation.labels.tolist() == [0, 1] and data.class_names == ("c 0", "c 1") and data.notes == ()
    assert data.train.images(np.array([4, 1]))[:, 0, 0, 0].tolist() == [40, 10]
    assert data.train.where(3) == f"{listed}/root/train/c 1/0.jpg (line 4 of {listed}/train.txt)"
    again = pickle.loads(pickle.dumps(data.train))
    np.testing.assert_array_equal(again.read(4), data.train.read(4))


def test_lists_are_found_under_the_root_and_names_come_from_a_file(of_lists, listed):
    (listed / "train.txt").rename(listed / "root/my list.txt")
    (listed / "root/names.txt").write_text("rose\r\ntulip\r\n")
    data = build(of_lists(train_list="my list.txt", class_names="names.txt"))
    assert data.class_names == ("rose", "tulip")
    (listed / "root/names.txt").write_text("rose\ntulip\nlily\n")
    assert "class 2 has no image (1 of 3 classes)" in error_of(
        of_lists(train_list="my list.txt", class_names="names.txt")
    )
    (listed / "root/names.txt").write_text("rose\nrose\n")
    assert "'rose' occurs twice" in error_of(of_lists(train_list="my list.txt", class_names="names.txt"))


def test_a_damaged_image_is_named_by_path_and_line(of_lists, listed):
    data = build(of_lists())
    path = listed / "root/train/c 1/0.jpg"
    for content, reason in (
        (b"", r"the file is empty \(0 bytes\)"),
        (b"no jpeg", "."),
        (None, "No such file"),
    ):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf"^record 3 \(index 3, {path} \(line 4 of .*train.txt\)\).*: {reason}"):
            data.train.images(np.array([3]))


def test_impossible_lists_are_errors_of_one_line(of_lists, listed):
    assert error_of(of_lists(train_list="")).startswith("config.data.train_list is missing")
    assert error_of(of_lists(dir="")).startswith("config.data.dir is missing")
    assert error_of(of_lists(train_list="no.txt")).startswith("no.txt: the list cannot be read")
    assert f"'{listed}/none' does not exist" in error_of(of_lists(dir=str(listed / "none")))
    unseen = make_list(listed / "unseen.txt", [("test/c 0/0.jpg", 0), ("test/c 1/0.jpg", 2)])
    assert error_of(of_lists(test_list=str(unseen))).startswith(
        f"{unseen}, line 2: 'test/c 1/0.jpg' has label 2, which no training image has (1 such images)"
    )
    negative = make_list(listed / "negative.txt", [("test/c 0/0.jpg", -1)])
    assert "line 1: 'test/c 0/0.jpg' has label -1" in error_of(of_lists(test_list=str(negative)))
    lost = make_list(listed / "lost.txt", [*rows(3, 2), ("train/c 0/lost.jpg", 0)])
    assert error_of(of_lists(train_list=str(lost))).startswith(
        f"{listed}/root/train/c 0/lost.jpg (line 6 of {lost}): missing (1 of 6 checked files are); set config"
    )


def test_images_in_two_lists_are_reported(of_lists, listed):
    both = make_list(listed / "both.txt", [("test/c 0/0.jpg", 0), ("train/c 1/1.jpg", 1)])
    assert build(of_lists(test_list=str(both))).notes == (
        f"{both}, line 2: 'train/c 1/1.jpg' is also a training image (line 5; 1 such images)",
    )


EASY = ["train/church-outdoor/1.jpg", "train/airfield/2.jpg", "val/airfield/Places365_val_3.jpg"]
LETTERS = ["a/airfield/2.jpg", "c/church/outdoor/1.jpg"]


@pytest.mark.parametrize(
    "names, there",
    [
        (EASY, EASY),
        (EASY, ["data_256/c/church/outdoor/1.jpg", "data_256/a/airfield/2.jpg", "val_256/Places365_val_3.jpg"]),
        (EASY, ["data_large/c/church/outdoor/1.jpg", "data_large/a/airfield/2.jpg", "val_large/Places365_val_3.jpg"]),
        (EASY, ["train/c/church/outdoor/1.jpg", "train/a/airfield/2.jpg", "val/Places365_val_3.jpg"]),
        (EASY, ["c/church/outdoor/1.jpg", "a/airfield/2.jpg", "val/Places365_val_3.jpg"]),
        (LETTERS, LETTERS),
        ([f"/{name}" for name in LETTERS], LETTERS),
        (LETTERS, ["train/airfield/2.jpg", "train/church-outdoor/1.jpg"]),
        (["data_256/a/airfield/2.jpg"], ["train/airfield/2.jpg"]),
    ],
)
def test_images_are_found_in_all_layouts_of_places(tmp_path, names, there):
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    files = find_files(str(tmp_path), PackedNames.of(names))
    assert [files(i).decode() for i in range(len(names))] == there
    assert not missing_files(files).size


def test_all_absent_files_are_found(tmp_path):
    for i in range(0, 300, 3):
        (tmp_path / f"{i}.jpg").write_text("x")
    files = ImageFiles(str(tmp_path), PackedNames.of(f"{i}.jpg" for i in range(300)))
    assert missing_files(files).tolist() == [i for i in range(300) if i % 3]
    assert missing_files(files, np.array([0, 1, 3])).tolist() == [1]


# Real images


@pytest.fixture(scope="module")
def caltech(tmp_path_factory):
    """(the folder of the images, the folder of the lists)"""
    lists = shared_path("data/caltech101_subset/caltech101_subset.tar").parent
    root = tmp_path_factory.mktemp("caltech")
    with tarfile.open(lists / "caltech101_subset.tar") as archive:
        archive.extractall(root, filter="data")
    return root, lists


def test_caltech_through_its_lists_and_its_folder(image_settings, caltech):
    root, lists = caltech
    names = {f"{split}_list": str(lists / f"caltech101_subset_{split}.txt") for split in ("train", "test")}
    data = build(
        image_settings(
            name="list", dir=root, **names, class_names=str(lists / "classes.txt"), image_size=224, resize=256
        )
    )
    assert (len(data.train), len(data.test), data.class_counts.max(), data.class_counts.min()) == (2631, 340, 790, 22)
    assert data.class_names == tuple((lists / "classes.txt").read_text().split()) and data.notes == ()
    assert data.train.images(np.array([0, 1000, 2630])).shape == (3, 224, 224, 3)
    tree = read_class_folders(str(root / "101_ObjectCategories"))
    assert len(tree.names) == 2971 and tree.classes == data.class_names and not tree.strays
