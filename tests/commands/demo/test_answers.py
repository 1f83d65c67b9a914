"""Uploads, answers, neighbours and cards, without Gradio."""

import html.parser
import types

import numpy as np
import pytest
from etils import epath

from ltjax.commands.demo import uploads
from ltjax.commands.demo.cards import calibration, cards, head
from ltjax.commands.demo.neighbours import build_index, key_of, read_index
from ltjax.commands.demo.session import training_index
from ltjax.commands.demo.uploads import checked
from ltjax.errors import InputError
from tests.commands.demo.small_model import COLOURS, bomb, encoded, model, session, training_images


def written(folder, **files):
    paths = []
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content)
        paths.append(str(path))
    return paths


def test_the_content_decides_what_an_upload_is_and_is_called(tmp_path):
    paths = written(tmp_path, a_png=encoded(form="JPEG"), b_jpg=encoded(), c_txt=encoded(), d_png=b"no image")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "..;rm -rf *.png").write_bytes(encoded(COLOURS[1]))
    found, problems = checked([*paths, str(tmp_path / "x" / "..;rm -rf *.png")])
    assert [one.file[32:] for one in found] == [".jpg", ".png", ".png"]  # c.txt is b.jpg once more
    assert all(set(one.file[:32]) <= set("0123456789abcdef") for one in found) and found[2].name == "..;rm -rf *.png"
    assert len(problems) == 1 and problems[0].startswith("d.png: not an image")


def test_uploads_are_bounded_in_number_bytes_and_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_UPLOADS", 3)
    monkeypatch.setattr(uploads, "MOST_BYTES", 3000)
    paths = written(
        tmp_path, bomb_png=bomb(), large_png=bomb(8000, 8000), heavy_png=encoded() + bytes(3000), fine_png=encoded()
    )
    found, problems = checked(paths)
    assert found == [] and problems == [
        "bomb.png: Image size (1600000000 pixels) exceeds limit of 178956970 pixels; at most 89,478,485 can be "
        "decoded: make the image smaller",
        "large.png: 8000 x 8000 pixels; at most 50,000,000: make the image smaller",
        f"heavy.png: {len(encoded()) + 3000:,} bytes; at most 3,000: make the image smaller",
        "1 more images are left out: at most 3 at a time",
    ]
    assert checked([str(tmp_path / "gone.png")])[1] == ["gone.png: is not kept any more; drop the image again"]


def test_answers_are_the_likeliest_classes_with_calibrated_probabilities(tmp_path):
    paths = written(
        tmp_path,
        a_png=encoded(COLOURS[2]),
        b_png=encoded(COLOURS[0]),
        c_png=encoded(size=(900, 900), form="JPEG")[:-2000],
    )
    found, problems = checked(paths)
    answers, unread = session().answers(found)
    assert [one.shares[0].label for one in answers] == [2, 0] and not problems
    assert len(unread) == 1 and unread[0].startswith("c.png: ") and str(tmp_path) not in unread[0]
    assert sum(share.probability for share in answers[0].shares) == pytest.approx(1)
    calibrated, _ = session(model=model(temperature=2.0)).answers(found)
    one, two = (each[0].shares[0].probability for each in (answers, calibrated))
    assert one / (1 - one) == pytest.approx(2 * (two / (1 - two)) ** 2, rel=1e-4)  # the two other classes are alike


def test_neighbours_are_kept_in_the_workdir_and_belong_to_the_network(tmp_path):
    folder, key, told = epath.Path(tmp_path), key_of(model(), "data"), []
    index = build_index(folder, key, model(), training_images(), told.append)
    stored = read_index(folder, key, training_images())
    np.testing.assert_array_equal(stored.features, index.features)
    assert told == [9] and index.features.shape == (9, 3) and index.features.dtype == np.float16
    near = stored.nearest(np.array([COLOURS[1]]), 4)[0]
    assert [one.label for one in near[:3]] == [1, 1, 1] and near[3].label != 1 and near[0].similarity > 0.99
    assert near[0].image.shape == (8, 8, 3)
    assert read_index(folder, key_of(model(), "other data"), None) is None
    (folder / "neighbours.npz").write_bytes(b"damaged")
    assert read_index(folder, key, None) is None


def data(fingerprint="data"):
    return types.SimpleNamespace(train=training_images(), fingerprint=fingerprint)


def lost():
    raise InputError("no folder 'flowers'")


def test_without_the_training_images_the_page_says_so(tmp_path):
    told = []

    def index(read_data, build=False):
        return training_index(epath.Path(tmp_path), model(), "data", read_data, build, told.append)

    assert index(lost) == (None, "To see the nearest training images, start the page with --neighbours.")
    assert index(lost, build=True) == (None, "The training images are not there.")
    assert index(lambda: data("others"), build=True)[0] is None and "others than those" in told[-1]
    built, lack = index(data, build=True)
    assert lack == "" and built.source is not None and told[-1] == "features of the training images: 9 of 9"
    again, lack = index(data)
    assert lack == "" and again.nearest([[0.0, 1.0, 0.0]], 1)[0][0].image is not None
    without, lack = index(lost)
    assert lack == "The training images are not there: only the classes of the nearest are shown."
    assert without.nearest([[0.0, 1.0, 0.0]], 1)[0][0].image is None


TAGS = {"header", "h1", "p", "ul", "ol", "li", "div", "article", "img", "h2", "h3", "span", "br"}


class Tags(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, text):
        self.words += text + " "


def test_cards_escape_every_name_and_load_nothing(tmp_path):
    (tmp_path / "<script>alert(1)<.png").write_bytes(encoded(COLOURS[0]))
    index = build_index(epath.Path(tmp_path), "key", model(), training_images(), lambda done: None)
    one = session(index=index)
    found, _ = checked([str(tmp_path / "<script>alert(1)<.png")])
    answers, _ = one.answers(found)
    page = Tags(cards(one, answers, ["<i>problem</i>"]) + head(one))
    assert {tag for tag, _ in page.tags} <= TAGS
    assert all(
        value.startswith("data:image/") for tag, named in page.tags for key, value in named.items() if key == "src"
    )
    for words in (
        "red <b>rose</b>",
        "1,200 training images",
        "1 training image ",
        "<i>problem</i>",
        "green\\nleaf",
    ):
        assert words in page.words, words
    assert "ce on flowers, 3 classes, 1,241 training images, accuracy 50.0 %" in page.words
    assert "not calibrated" in page.words and "Nearest training images" in page.words
    assert "calibrated: the logits are divided by the temperature 2.00" in calibration(2.0)
