"""CLIP's tokenizer: by hand on a small vocabulary, and beside transformers and open_clip where they are installed."""

import gzip
import json
import pathlib

import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models.text.tokenizer import END, START, from_files, from_merges, words

MERGES = ["#version: 0.2", "p h", "o t", "ph ot", "phot o</w>", "o f</w>", "d o", "do g</w>", "do g", "Ã ¼", "1 2</w>"]
TEXTS = ("a photo of a Dog.", "it's 42 o'clock!?", "Müller   &amp; sons\n", "snow_leopard's don't WE'VE", "日本 x²", "")


def tokens(tokenizer, text):
    names = list(tokenizer.vocabulary)
    return [names[number] for number in tokenizer.encode(text)]


def test_merges_are_made_by_rank_and_a_word_ends_with_its_mark():
    tokenizer = from_merges(MERGES)
    assert tokens(tokenizer, "Photo of  dogs") == ["photo</w>", "of</w>", "dog", "s</w>"]
    assert tokens(tokenizer, "12") == ["1</w>", "2</w>"]  # each digit is a word
    assert tokens(tokenizer, "ü") == ["Ã", "¼</w>"] and tokens(tokenizer, "üa")[0] == "Ã¼"


def test_a_text_is_between_start_and_end_and_a_long_one_is_cut_before_its_end():
    tokenizer = from_merges(MERGES)
    start, end = tokenizer.vocabulary[START], tokenizer.vocabulary[END]
    assert (start, end) == (512 + 10, 512 + 11)
    rows = tokenizer(["of", "of " * 50], length=6)
    one = tokenizer.vocabulary["of</w>"]
    assert rows.tolist() == [[start, one, end, 0, 0, 0], [start, *[one] * 4, end]]


def test_words():
    assert list(words("we'll see: 3 dogs, o'clock")) == ["we", "'ll", "see", ":", "3", "dogs", ",", "o", "'", "clock"]


@pytest.mark.parametrize(
    "merges, vocabulary, message",
    [
        ("a b\nc", "", "merge 2 .'c'. is not two tokens"),
        ("a b", "{", "vocab.json is damaged"),
        ("a b", "[1]", "does not map tokens to numbers"),
        ("a b", '{"a": 1}', "has no <.startoftext.> or no"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(merges, vocabulary, message):
    with pytest.raises(InputError, match=message):
        from_files(merges, vocabulary)


def test_a_token_that_the_vocabulary_lacks_is_refused():
    with pytest.raises(InputError, match="no token 'q</w>'"):
        from_merges(MERGES, {START: 0, END: 1}).encode("q")


def test_transformers_makes_the_same_numbers(tmp_path):
    transformers = pytest.importorskip("transformers", reason="compares with transformers, which is not installed")
    tokenizer = from_merges(MERGES)
    (tmp_path / "vocab.json").write_text(json.dumps(tokenizer.vocabulary))
    (tmp_path / "merges.txt").write_text("\n".join(MERGES) + "\n")
    theirs = transformers.CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    ours = from_files((tmp_path / "merges.txt").read_text(), (tmp_path / "vocab.json").read_text())
    for text in TEXTS:
        if "&" not in text:  # transformers keeps what HTML writes as &amp;
            whole = [ours.vocabulary[START], *ours.encode(text), ours.end]
            assert theirs(text)["input_ids"] == whole, text


def test_open_clip_makes_the_same_numbers_with_its_vocabulary():
    open_clip = pytest.importorskip("open_clip", reason="compares with open_clip, which is not installed")
    file = pathlib.Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    ours, theirs = from_files(gzip.decompress(file.read_bytes()).decode()), open_clip.SimpleTokenizer()
    assert len(ours.vocabulary) == 49408
    rng = np.random.default_rng(0)
    letters = list("abcdefghü '.,!?0123456789éß-_/日")
    texts = [*TEXTS, *("".join(rng.choice(letters, 20)) for _ in range(100)), "word " * 100]
    np.testing.assert_array_equal(ours(texts), theirs(texts).numpy())
