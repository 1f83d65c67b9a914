"""List files: the public ones in full, every accepted form of a line, and every kind of mistake."""

import json
import lzma
import time

import numpy as np
import pytest

from ltjax.data.storage.list_file import check_all_classes, check_classes, read_list
from ltjax.errors import InputError
from tests.shared import shared_path


def written(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def error_of(call, *arguments):
    with pytest.raises(InputError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "a/1.jpg 0\nb/2.jpg 12\n",
        "a/1.jpg 0\r\nb/2.jpg 12\r\n",
        "a/1.jpg 0\rb/2.jpg 12\r",
        b"\xef\xbb\xbfa/1.jpg 0\nb/2.jpg 12",
        "a/1.jpg\t0 \n\n  \nb/2.jpg   12  \n\n",
    ],
    ids=["plain", "crlf", "cr", "byte-order mark", "blanks"],
)
def test_equivalent_forms_of_a_list_are_read_alike(tmp_path, text):
    listing = read_list(written(tmp_path, text))
    assert list(listing.names) == ["a/1.jpg", "b/2.jpg"] and listing.labels.tolist() == [0, 12] and not listing.notes


def test_paths_may_have_spaces_digits_and_any_letters(tmp_path):
    names = ["my roses/img 1 .jpg", "7 8/9", "2", "caf\udce9/ü.jpg"]
    text = b"".join(name.encode("utf-8", "surrogateescape") + b" 3\n" for name in names)
    assert list(read_list(written(tmp_path, text)).names) == names


def test_line_numbers_count_empty_lines(tmp_path):
    assert read_list(written(tmp_path, "\na 0\n\nb 1\n")).lines.tolist() == [2, 4]


@pytest.mark.parametrize(
    "line", ["a/1.jpg", "17", "a/1.jpg,3", "a/1.jpg 3.5", "a/1.jpg x", "a 12345678901", "a/1.jpg3"]
)
def test_a_malformed_line_is_named(tmp_path, line):
    path = written(tmp_path, f"a/0.jpg 0\n{line}\n{line}\n")
    assert error_of(read_list, path).startswith(f"{path}, line 2: '{line}' is not 'relative/path label'")
    assert "(2 such lines)" in error_of(read_list, path)


def test_what_is_not_a_list_is_an_error_of_one_line(tmp_path):
    missing = tmp_path / "none.txt"
    assert (
        error_of(read_list, missing)
        == f"{missing}: the list cannot be read (No such file or directory); correct the path"
    )
    assert "the list is empty" in error_of(read_list, written(tmp_path, " \n\n"))
    assert "the list is empty" in error_of(read_list, written(tmp_path, ""))
    assert "not plain UTF-8 text" in error_of(read_list, written(tmp_path, "a 0\n".encode("utf-16")))
    torn = tmp_path / "torn.txt.xz"
    torn.write_bytes(lzma.compress(b"a/1.jpg 0\n" * 99)[:40])
    assert "not a complete .xz file" in error_of(read_list, torn)


def test_a_repeated_line_counts_once_and_is_reported(tmp_path):
    path = written(tmp_path, "a 0\nb 1\na 0\nc 1\na 0\nb 1\n")
    listing = read_list(path)
    assert list(listing.names) == ["a", "b", "c"] and listing.lines.tolist() == [1, 2, 4]
    assert listing.notes == (
        f"{path}: 3 lines repeat an earlier line and are ignored (the first: line 3 repeats line 1)",
    )


def test_a_path_with_two_labels_is_named(tmp_path):
    path = written(tmp_path, "a 0\nb 1\na 1\n")
    assert error_of(read_list, path) == (
        f"{path}, line 3: 'a' has label 1 here and 0 in line 1 (1 such lines); keep the right one"
    )


def test_labels_out_of_range_and_classes_without_image_are_named(tmp_path):
    path = written(tmp_path, "a 0\nb -1\nc 5\n")
    assert error_of(check_classes, read_list(path), 5).startswith(
        f"{path}, line 2: 'b' has label -1; labels must be 0 to 4"
    )
    assert "(2 such lines)" in error_of(check_classes, read_list(path), 5)
    gap = read_list(written(tmp_path, "a 0\nb 3\nc 1\n"))
    assert "class 2 has no image (1 of 4 classes; line 2 has the largest label, 3)" in error_of(check_all_classes, gap)
    assert "class 2 has no image (2 of 5 classes)" in error_of(check_all_classes, gap, 5)
    assert check_all_classes(read_list(written(tmp_path, "a 0\nb 2\nc 1\n"))) == 3


@pytest.mark.parametrize(
    "stem",
    ["Places_LT_train", "Places_LT_val", "Places_LT_test", "ImageNet_LT_val", "ImageNet_LT_test", "iNaturalist18_val"],
)
def test_the_public_lists_have_their_published_counts(stem):
    path = shared_path(f"data/lists/{stem}.txt.xz")
    wanted = json.loads((path.parent / "counts.json").read_text())[stem]
    listing = read_list(path)
    assert not listing.notes and check_all_classes(listing) == wanted["classes"]
    assert np.bincount(listing.labels).tolist() == wanted["counts"]
    first, _, label = lzma.decompress(path.read_bytes()).decode().partition("\n")[0].rpartition(" ")
    assert (listing.names[0], listing.labels[0]) == (first, int(label))


def test_a_list_of_inaturalists_size_is_read_within_seconds(tmp_path):
    labels = np.random.default_rng(0).permutation(np.arange(437_513) % 8142)
    name = "train_val2018/Plantae/{}/{:032x}.jpg {}"
    path = written(tmp_path, "\n".join(name.format(label, i, label) for i, label in enumerate(labels.tolist())))
    began = time.process_time()
    listing = read_list(path)
    assert time.process_time() - began < 4
    assert check_all_classes(listing, 8142) == 8142 and np.array_equal(listing.labels, labels)
    assert listing.names[437_512] == f"train_val2018/Plantae/{labels[-1]}/{437_512:032x}.jpg"
