"""CLIP's tokenizer: lower-case byte-pair encoding. The vocabulary is the user's; none comes with ltjax."""

import dataclasses
import functools
import html
import itertools
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ltjax.errors import InputError

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
CONTRACTIONS = ("'re", "'ve", "'ll", "'s", "'t", "'m", "'d")
MERGES = 49152 - 256 - 2  # of CLIP's vocabulary: its file has more lines, the rest is not used


@functools.cache
def byte_symbols() -> tuple[str, ...]:
    """A printable character for each of the 256 bytes, in the order of the vocabulary, by byte in ``symbol_of``."""
    return tuple(symbol_of().values())


@functools.cache
def symbol_of() -> Mapping[int, str]:
    """byte -> its character: itself where it is printed, else the next one from U+0100 on.

    Example:
      >>> symbol_of()[ord("a")], symbol_of()[ord(" ")], len(symbol_of())
      ('a', 'Ġ', 256)
    """
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {byte: chr(byte) for byte in printed} | {byte: chr(0x100 + at) for at, byte in enumerate(others)}


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Text to numbers.

    Attributes:
      vocabulary: token -> its number. A token that ends a word ends with ``</w>``.
      ranks: pair of neighbouring tokens -> its place among the merges; lower ones are merged first.

    Example:
      >>> make = from_merges(["r o", "ro s", "ros e</w>"])
      >>> [list(make.vocabulary)[token] for token in make.encode("A Rose")]
      ['a</w>', 'rose</w>']
    """

    vocabulary: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]

    @property
    def end(self) -> int:
        """The number of the token that ends a text."""
        return self.vocabulary[END]

    def encode(self, text: str) -> list[int]:
        """The numbers of a text, without those of its start and end.

        Raises:
          InputError: for a token that the vocabulary lacks.
        """
        cleaned = " ".join(html.unescape(html.unescape(unicodedata.normalize("NFC", text))).split()).lower()
        found = []
        for word in words(cleaned):
            symbols = "".join(symbol_of()[byte] for byte in word.encode())
            for token in [word] if word in (START, END) else self.merged(symbols):
                if token not in self.vocabulary:
                    raise InputError(f"the vocabulary has no token '{token}'; give merges and vocabulary of one kind")
                found.append(self.vocabulary[token])
        return found

    def merged(self, word: str) -> list[str]:
        """The tokens of one word."""
        parts = [*word[:-1], word[-1] + WORD_END]
        while len(parts) > 1:
            pairs = set(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            made, at = [], 0
            while at < len(parts):
                both = tuple(parts[at : at + 2]) == best
                made.append("".join(best) if both else parts[at])
                at += 2 if both else 1
            parts = made
        return parts

    def __call__(self, texts: Sequence[str], length: int = 77) -> npt.NDArray[np.int32]:
        """int32 [N, length]: start, text, end, then zeros. A longer text is cut before its end."""
        rows = np.zeros((len(texts), length), np.int32)
        for row, text in zip(rows, texts, strict=True):
            tokens = [self.vocabulary[START], *self.encode(text)[: length - 2], self.end]
            row[: len(tokens)] = tokens
        return rows


def words(text: str) -> Iterator[str]:
    """The words of a lower-case text: runs of letters, single digits, runs of other signs, English contractions.

    Example:
      >>> list(words("it's a no. 42!?"))
      ['it', "'s", 'a', 'no', '.', '4', '2', '!?']
    """
    at = 0
    while at < len(text):
        kind = _kind(text[at])
        contraction = next((one for one in CONTRACTIONS if text.startswith(one, at)), "")
        special = next((one for one in (START, END) if text.startswith(one, at)), "")
        end = at + (len(special or contraction) or 1)
        if not special and not contraction and kind in "LO":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != "S":
            yield text[at:end]
        at = end


def _kind(character: str) -> str:
    """L: a letter, N: a number, S: a space, O: any other."""
    if character.isspace():
        return "S"
    kind = unicodedata.category(character)[0]
    return kind if kind in "LN" else "O"


def from_merges(lines: Sequence[str], vocabulary: Mapping[str, int] | None = None) -> Tokenizer:
    """The tokenizer of a list of merges, "left right" each.

    Args:
      lines: the merges; a first line with ``#version`` is left out.
      vocabulary: token -> number; None: bytes, bytes that end a word, merges, start, end, as CLIP counts them.

    Raises:
      InputError: for a line that is no pair, or a vocabulary without start and end.
    """
    lines = [line for line in lines if line.strip()]
    lines = lines[1:] if lines and "#version" in lines[0] else lines
    pairs = []
    for number, line in enumerate(lines[:MERGES], 1):
        pair = tuple(line.split())
        if len(pair) != 2:
            raise InputError(f"merge {number} ('{line[:40]}') is not two tokens; give CLIP's list of merges")
        pairs.append((pair[0], pair[1]))
    if vocabulary is None:
        symbols = [*byte_symbols(), *(symbol + WORD_END for symbol in byte_symbols())]
        tokens = [*symbols, *map("".join, pairs), START, END]
        vocabulary = {token: number for number, token in enumerate(tokens)}
    if START not in vocabulary or END not in vocabulary:
        raise InputError(f"the vocabulary has no {START} or no {END}; give CLIP's")
    return Tokenizer(vocabulary, {pair: rank for rank, pair in enumerate(pairs)})


def from_files(merges: str, vocabulary: str = "") -> Tokenizer:
    """The tokenizer of the contents of merges.txt (or bpe_simple_vocab_16e6.txt) and of vocab.json, "" = by the merges.

    Raises:
      InputError: as ``from_merges``, or if the vocabulary is no JSON object of numbers.
    """
    if not vocabulary:
        return from_merges(merges.splitlines())
    try:
        read = json.loads(vocabulary)
    except ValueError as error:
        raise InputError(f"vocab.json is damaged ({error}); copy it again") from None
    if not isinstance(read, dict) or not all(isinstance(number, int) for number in read.values()):
        raise InputError("vocab.json does not map tokens to numbers; give CLIP's")
    return from_merges(merges.splitlines(), read)
