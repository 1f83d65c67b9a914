"""Lists of images with several labels: what a line may be, what is joined, what is refused."""

import numpy as np
import pytest

from ltjax.data.storage.multilabel_list import read_multilabel_list
from ltjax.errors import InputError


def read(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_text(text)
    return read_multilabel_list(path, str(tmp_path))


def test_labels_stand_at_the_end_with_spaces_tabs_or_commas(tmp_path):
    found = read(tmp_path, '\ufeffa b/1 2.jpg 4 0\r\nc.jpg\t1,3\n\n"d e.jpg" 2;0\nf.jpg 7, 7\n')
    assert list(found.images.names) == ["a b/1 2.jpg", "c.jpg", "d e.jpg", "f.jpg"]
    assert [found.sets[i].tolist() for i in range(4)] == [[0, 4], [1, 3], [0, 2], [7]]
    assert found.images.lines.tolist() == [1, 2, 4, 5]


def test_an_image_of_several_lines_has_the_labels_of_all_and_one_without_has_none(tmp_path):
    found = read(tmp_path, "a.jpg 2\nb.jpg\n./a.jpg 0\na.jpg 2\n")
    assert [found.sets[i].tolist() for i in range(2)] == [[0, 2], []]
    assert found.sets.multi_hot(3).tolist() == [[True, False, True], [False] * 3]
    repeated, empty = found.images.notes
    assert "2 lines repeat an image" in repeated and "line 3 is the image of line 1" in repeated
    assert "1 of 2 images have no label (the first: line 2)" in empty


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n", "the list is empty"),
        ("a.jpg 0\n3 4\n", "line 2: '3 4' is not 'relative/path label label ...'"),
        ("a.jpg 12345678901\n", "label 12345678901 is too large"),
        ("../a.jpg 0\n", "outside of config.data.dir"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_subset_keeps_the_classes_of_its_images(tmp_path):
    sets = read(tmp_path, "a 0 1\nb\nc 2\nd 0 2\n").sets
    chosen = sets.take(np.array([3, 1, 0]))
    assert [chosen[i].tolist() for i in range(3)] == [[0, 2], [], [0, 1]]
    assert chosen.counts(3).tolist() == [2, 1, 1]
