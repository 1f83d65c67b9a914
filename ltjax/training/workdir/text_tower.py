"""Class names as vectors: CLIP's text tower and vocabulary, from the user's files (config.model.text, vocabulary)."""

import gzip
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from ltjax.data.storage.paths import open_path
from ltjax.errors import InputError
from ltjax.methods.stage import Texts
from ltjax.models.text.tokenizer import Tokenizer, from_files
from ltjax.models.text.tower import text_tower
from ltjax.settings import Settings
from ltjax.training.workdir.weight_file import HUB, HUB_NAME, hub_file, read_weights

AT_ONCE = 64  # texts
LENGTH = 77  # tokens of a text, at most
ONE_FILE = ("bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt")
TWO_FILES = ("merges.txt", "vocab.json")
WHERE = (
    "give --config.model.vocabulary=PLACE, a folder with merges.txt and vocab.json, as in a CLIP of a model hub, or "
    "bpe_simple_vocab_16e6.txt.gz of OpenAI or open_clip"
)


def texts_of(config: Settings, network: Any) -> Texts:
    """``Texts`` by the tower that config.model.text names; the files are read when it is called.

    Args:
      config: of the run.
      network: whose backbone tells the activation of its blocks.
    """

    def texts(by_class: Sequence[Sequence[str]]) -> npt.NDArray[np.float32]:
        given = config.model.text or config.model.pretrained
        key = "config.model.text" if config.model.text else "config.model.pretrained"
        if not given:
            raise InputError(
                "config.model.text: a classifier from class names needs CLIP's text tower; give "
                "--config.model.pretrained=FILE, the weights of a whole CLIP, or --config.model.text=FILE beside it"
            )
        tokenizer = read_vocabulary(config.model.vocabulary, given)
        try:
            activation = getattr(network.backbone, "activation", "quick_gelu")
            tower, variables = text_tower(read_weights(given), tokenizer.end, activation)
        except InputError as error:
            raise InputError(f"{key}={given}: {error}") from None
        if tower.vocabulary != len(tokenizer.vocabulary):
            raise InputError(
                f"config.model.vocabulary: has {len(tokenizer.vocabulary)} tokens, and the text tower of {key}={given} "
                f"{tower.vocabulary}; {WHERE}"
            )
        embed = jax.jit(tower.apply)
        flat = [text for texts in by_class for text in texts]
        tokens = tokenizer(flat, min(LENGTH, tower.length))
        rows = [_padded(tokens[begin : begin + AT_ONCE]) for begin in range(0, len(flat), AT_ONCE)]
        vectors = np.concatenate([np.asarray(embed(variables, row)) for row in rows])[: len(flat)]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        ends = np.cumsum([len(texts) for texts in by_class])
        return np.stack([part.mean(0) for part in np.split(vectors, ends[:-1])])

    return texts


def read_vocabulary(given: str, weights: str) -> Tokenizer:
    """The tokenizer of config.model.vocabulary, or of the files beside the weights.

    Raises:
      InputError: if there is none, or it is damaged.
    """
    if not given and weights.startswith(HUB):
        named = HUB_NAME.fullmatch(weights.removeprefix(HUB))
        assert named is not None  # the weights were read
        revision = f"@{named['revision']}" if named["revision"] else ""
        at = [hub_file(f"{HUB}{named['repo']}{revision}/{name}") for name in TWO_FILES]
        return from_files(*(path.read_text("utf-8") for path in at))
    place = open_path(given) if given else open_path(weights).parent
    setting = f"config.model.vocabulary={given}" if given else f"config.model.vocabulary: beside {weights}"
    try:
        if not place.is_dir():
            return from_files(_text(place.read_bytes()))
        if all((place / name).exists() for name in TWO_FILES):
            return from_files(*((place / name).read_text("utf-8") for name in TWO_FILES))
        found = next((place / name for name in ONE_FILE if (place / name).exists()), None)
        if found is None:
            raise InputError(f"{setting}: no vocabulary in {place}; {WHERE}")
        return from_files(_text(found.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{setting}: no such file; {WHERE}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(f"{setting}: cannot be read ({reason}); copy it again") from None


def _text(content: bytes) -> str:
    return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8")


def _padded(tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """``AT_ONCE`` rows, so that one program serves all."""
    return np.concatenate([tokens, np.repeat(tokens[-1:], AT_ONCE - len(tokens), axis=0)])
