"""The list file of corrected labels, and what training reads of it."""

import pytest

from ltjax.commands.demo.corrections import Corrections
from ltjax.commands.demo.uploads import file_name
from ltjax.data.datasets.user_images import lists
from ltjax.data.storage.list_file import read_list
from ltjax.errors import InputError
from ltjax.settings import DataSettings
from tests.commands.demo.small_model import COLOURS, encoded

NAMES = ("rose", "leaf", "iris")


def test_training_reads_the_list(tmp_path):
    made = Corrections(tmp_path / "corrections", NAMES)
    for number in range(12):
        content = encoded(COLOURS[number % 3], (20 + number, 20))
        assert made.add(file_name(content), content, number % 3) == number + 1
    settings = DataSettings(
        name="list", dir=str(tmp_path / "corrections"), train_list="list.txt", class_names="class_names.txt",
        imbalance=1.0, image_size=16, resize=16, test_fraction=0.25,
    )  # fmt: skip
    data = lists(settings)
    assert data.class_names == NAMES and list(data.class_counts) == [3, 3, 3] and len(data.test) == 3
    assert tuple(data.train.read(0)[8, 8]) == COLOURS[0]


def test_the_last_label_of_a_image_counts_and_another_start_goes_on(tmp_path):
    for label in (2, 1):
        Corrections(tmp_path, NAMES).add("a.png", encoded(), label)
    Corrections(tmp_path, NAMES).add("b.png", encoded(COLOURS[1]), 0)
    listed = read_list(tmp_path / "list.txt", str(tmp_path))
    assert list(listed.files) == ["images/a.png", "images/b.png"] and listed.labels.tolist() == [1, 0]
    assert (tmp_path / "images" / "a.png").read_bytes() == encoded()


def test_what_cannot_be_written_or_read_is_one_line(tmp_path):
    made = Corrections(tmp_path / "corrections", NAMES)
    with pytest.raises(InputError, match="label 3; allowed: 0 to 2"):
        made.add("a.png", encoded(), 3)
    (tmp_path / "corrections").write_text("a file")
    with pytest.raises(InputError, match="corrections: cannot be written"):
        made.add("a.png", encoded(), 1)
    other = Corrections(tmp_path / "other", NAMES)
    other.add("a.png", encoded(), 1)
    other.path.write_text("images/a.png\n")
    with pytest.raises(InputError, match="line 1"):
        other.add("b.png", encoded(), 1)
    assert not (tmp_path / "other" / "images" / "b.png").exists()


def test_names_that_do_not_fit_in_a_line_make_no_file_of_names(tmp_path):
    Corrections(tmp_path, ("a\nb", "c")).add("a.png", encoded(), 1)
    assert not (tmp_path / "class_names.txt").exists()
