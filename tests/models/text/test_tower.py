"""CLIP's text tower beside transformers and open_clip, on random weights."""

import jax
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models.text.tower import text_tower

WIDTH, DEPTH, HEADS, VOCABULARY, LENGTH, PROJECTION = 32, 2, 4, 50, 12, 16
END = VOCABULARY - 1


def tokens():
    rng = np.random.default_rng(0)
    rows = rng.integers(1, VOCABULARY - 2, (5, LENGTH)).astype(np.int32)
    for row, end in zip(rows, (3, 11, 1, 7, 5), strict=True):
        row[end], row[end + 1 :] = END, 0
    return rows


def ours(arrays, activation):
    tower, variables = text_tower(arrays, END, activation, heads=HEADS)
    return np.asarray(jax.jit(tower.apply)(variables, tokens()))


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_transformers_makes_the_same_vectors(activation):
    transformers = pytest.importorskip("transformers", reason="compares with transformers, which is not installed")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=PROJECTION,
        num_hidden_layers=DEPTH, num_attention_heads=HEADS, max_position_embeddings=LENGTH, hidden_act=activation,
        eos_token_id=END, bos_token_id=0, pad_token_id=0, initializer_factor=5.0,
    )  # fmt: skip
    model = transformers.CLIPTextModelWithProjection(config).eval()
    with torch.no_grad():
        expected = model(torch.tensor(tokens()).long()).text_embeds.numpy()
    made = ours({name: value.numpy() for name, value in model.state_dict().items()}, activation)
    np.testing.assert_allclose(made, expected, atol=1e-4 * np.abs(expected).max())


def test_open_clip_makes_the_same_vectors():
    open_clip = pytest.importorskip("open_clip", reason="compares with open_clip, which is not installed")
    torch = pytest.importorskip("torch")
    from open_clip.model import CLIP

    del open_clip
    torch.manual_seed(0)
    vision = {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32}
    text = {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": WIDTH, "heads": HEADS, "layers": DEPTH}
    model = CLIP(PROJECTION, vision, text, quick_gelu=True).eval()
    with torch.no_grad():
        expected = model.encode_text(torch.tensor(tokens()).long()).numpy()
    made = ours({name: value.numpy() for name, value in model.state_dict().items()}, "quick_gelu")
    np.testing.assert_allclose(made, expected, atol=1e-4 * np.abs(expected).max())


def test_a_file_without_a_text_tower_is_refused():
    with pytest.raises(InputError, match=r"no text tower of CLIP: token_embedding, .* are missing; give the weights"):
        text_tower({"visual.conv1.weight": np.zeros([4, 3, 2, 2])}, END)
