"""The contract of a data set: what data_from_arrays makes of arrays, and the errors of check_data."""

import dataclasses

import numpy as np
import pytest

from ltjax import data as package
from ltjax.data import build, data_from_arrays
from ltjax.data.dataset import check_data
from ltjax.errors import InputError
from ltjax.settings import DataSettings

IMAGES = np.random.RandomState(0).randint(0, 256, (12, 8, 6, 3)).astype(np.uint8)
LABELS = np.repeat([0, 1, 2], [7, 3, 2])


def arrays(**changes):
    usual = {"name": "mine", "train": (IMAGES, LABELS), "test": (IMAGES[:3], np.array([0, 1, 2]))}
    return data_from_arrays(**(usual | changes))


def test_arrays_become_a_data_set_with_counts_shape_and_statistics():
    data = arrays()
    assert data.class_counts.tolist() == [7, 3, 2] and data.image_shape == (8, 6, 3) and data.num_classes == 3
    np.testing.assert_array_equal(data.train.images(np.array([4, 1])), IMAGES[[4, 1]])
    np.testing.assert_allclose(data.mean, IMAGES.mean((0, 1, 2)) / 255, atol=1e-4)
    np.testing.assert_allclose(data.std, IMAGES.std((0, 1, 2)) / 255, atol=1e-4)
    assert data.train.labels.dtype == np.int32 and len(data.test) == 3 and data.validation is None


def test_a_data_set_is_built_by_the_name_of_its_entry(monkeypatch):
    monkeypatch.setitem(package.DATASETS, "mine", lambda settings: arrays(class_names=("a", "b", "c")))
    data = build(DataSettings(name="mine"))
    assert data.class_names == ("a", "b", "c") and data.fingerprint == arrays().fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": (IMAGES.astype(np.float32), LABELS)}, "mine: train images: float32"),
        ({"train": (IMAGES, LABELS[:-1])}, "mine: 12 train images, but 11 labels"),
        ({"train": (IMAGES, LABELS - 1)}, "mine: train labels: label -1 at position 0"),
        ({"train": (IMAGES, LABELS.astype(float))}, "mine: train labels: float64"),
        ({"test": (IMAGES[:1], np.array([3]))}, "mine: test labels: label 3 at position 0"),
        ({"class_names": ("a", "b", "c", "d")}, "each at least once; 3 is missing"),
        ({"mean": (0.5,)}, "mean and std must be 3 numbers each"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be above 0"),
    ],
)
def test_impossible_arrays_are_errors_of_one_line(changes, message):
    with pytest.raises(InputError, match=message) as error:
        arrays(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"class_counts": np.array([7, 3, 1])},
            "mine: class_counts must be the training images of each",
        ),
        ({"class_names": ("a", "b")}, "class_names must be None or 3 names"),
        ({"image_shape": (8, 6, 4)}, "image_shape must be"),
        ({"train": dataclasses.replace(arrays().train, labels=LABELS)}, "train.labels must be int32"),
        ({"test": dataclasses.replace(arrays().test, index=np.arange(2))}, r"test.index must be int64 \[3\]"),
    ],
)
def test_data_that_break_the_contract_are_errors_of_one_line(changes, message):
    with pytest.raises(InputError, match=message):
        check_data(dataclasses.replace(arrays(), **changes))
