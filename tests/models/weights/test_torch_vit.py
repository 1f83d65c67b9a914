"""Features of vision transformers are those of the libraries that their weights come from.

The numpy network of ``vit_reference`` always, timm, transformers and open_clip where they are installed.
"""

import importlib.util

import jax
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models import VisionTransformer
from ltjax.models.weights.torch_vit import fitted_positions, import_vit, is_vit, not_of_the_backbone
from tests.models.arrays import paths, shapes
from tests.models.weights import vit_reference

SIDE, PATCH, WIDTH, HEADS = 16, 4, 16, 2
NET = VisionTransformer(patch=PATCH, width=WIDTH, depth=2, heads=HEADS, grid=SIDE // PATCH)
CLIP = NET.clone(pre_norm=True, projection=8, activation="quick_gelu", epsilon=1e-5)
DINOV2 = NET.clone(layer_scale=1.0, antialias=False)


def needs(package):
    return pytest.mark.skipif(not importlib.util.find_spec(package), reason=f"{package} is not installed")


def images(height=SIDE, width=SIDE):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


def features(network, state_dict, pixels):
    variables = import_vit(state_dict)
    backbone = variables["params"]["backbone"]
    assert paths(shapes(network, pixels)[1]["params"]) == paths(backbone)
    made = jax.jit(lambda params: network.apply({"params": params}, pixels, train=False))(backbone)
    return np.asarray(made).mean((1, 2))


def compare(network, state_dict, wanted, pixels):
    wanted = np.asarray(wanted)
    assert np.abs(wanted).max() > 0.1 and np.std(wanted, 0).max() > 1e-2
    np.testing.assert_allclose(features(network, state_dict, pixels), wanted, rtol=1e-4, atol=1e-4)


def randomised(source):
    """A torch module's state_dict of which everything is random, so that a swapped or forgotten array is noticed."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in source.parameters():
            spread = 0.2 if value.ndim < 2 else value[0].numel() ** -0.5
            value.copy_(spread * torch.randn(value.shape, generator=generator) + (value.ndim < 2) * 0.7)
    source.eval()
    return {name: value.detach().numpy() for name, value in source.state_dict().items()}


def computed(source, pixels):
    import torch

    with torch.no_grad():
        return source(torch.from_numpy(pixels).permute(0, 3, 1, 2))


@pytest.mark.parametrize("library", vit_reference.NAMES)
@pytest.mark.parametrize("size", [(16, 16), (24, 8)])
def test_features_are_those_of_the_equations(library, size):
    kind = {"clip": CLIP, "dinov2": DINOV2, "vit": NET}[vit_reference.KINDS[library]]
    kind = kind.clone(registers=2 if "reg" in library else 0, antialias="hugging" not in library)
    pixels = images(*size)
    canonical = vit_reference.random_arrays(kind)
    state_dict = vit_reference.named(canonical, library)
    compare(kind, state_dict, vit_reference.forward(canonical, pixels, kind), pixels)


TIMM = {
    "class": ({}, NET),
    "mean": ({"global_pool": "avg", "fc_norm": True}, NET.clone(pool="mean", fc_norm=True)),
    "tokens": ({"global_pool": "avg", "fc_norm": False}, NET.clone(pool="mean")),
    "clip": ({"pre_norm": True, "num_classes": 8, "act": "quick_gelu"}, CLIP),
    "dinov2": ({"init_values": 1e-5}, DINOV2.clone(antialias=True)),
    "dinov2 with registers": (
        {"init_values": 1e-5, "reg_tokens": 4, "no_embed_class": True},
        DINOV2.clone(registers=4, antialias=True),
    ),
}


@needs("timm")
@pytest.mark.parametrize("kind", TIMM)
@pytest.mark.parametrize("size", [16, 24])
def test_features_are_those_of_timm(kind, size):
    import functools

    from timm.layers import QuickGELU
    from timm.models.vision_transformer import LayerNorm, VisionTransformer

    options, network = dict(TIMM[kind][0]), TIMM[kind][1]
    if options.pop("act", None):
        options |= {"act_layer": QuickGELU, "norm_layer": functools.partial(LayerNorm, eps=1e-5)}
    options = {"num_classes": 5} | options
    source = VisionTransformer(SIDE, PATCH, embed_dim=WIDTH, depth=2, num_heads=HEADS, dynamic_img_size=True, **options)
    state_dict = randomised(source)
    if kind == "clip":
        state_dict["head.bias"][:] = 0
    elif kind in ("class", "dinov2"):
        assert not_of_the_backbone(state_dict) == ["head.weight", "head.bias"]
    inner = source if kind == "clip" else lambda x: source.forward_head(source.forward_features(x), pre_logits=True)
    compare(network, state_dict, computed(inner, images(size, size)), images(size, size))


COMMON = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH,
    "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip


def written_and_read(source, folder):
    """The state_dict in the file that transformers writes, whose names are those of the hub."""
    from safetensors.numpy import load_file

    source.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


@needs("transformers")
@pytest.mark.parametrize("size", [16, 24])
@pytest.mark.parametrize("saved", [True, False])
def test_features_are_those_of_hugging_faces_clip(size, saved, tmp_path):
    import transformers

    config = transformers.CLIPConfig(
        text_config={"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8},
        vision_config={**COMMON, "projection_dim": 8},
        projection_dim=8,
    )
    source = transformers.CLIPModel(config)
    state_dict = randomised(source)
    state_dict = written_and_read(source, tmp_path) if saved else state_dict
    assert any("text" in name for name in not_of_the_backbone(state_dict))

    def image_features(x):
        made = source.get_image_features(pixel_values=x, interpolate_pos_encoding=True)
        return getattr(made, "pooler_output", made)

    compare(CLIP.clone(antialias=False), state_dict, computed(image_features, images(size, size)), images(size, size))


@needs("transformers")
@pytest.mark.parametrize("size", [16, 24])
@pytest.mark.parametrize("saved", [True, False])
def test_features_are_those_of_hugging_faces_vit(size, saved, tmp_path):
    import transformers

    source = transformers.ViTForImageClassification(transformers.ViTConfig(**COMMON, num_labels=5))
    state_dict = randomised(source)
    state_dict = written_and_read(source, tmp_path) if saved else state_dict
    assert sorted(not_of_the_backbone(state_dict)) == ["classifier.bias", "classifier.weight"]

    def class_token(x):
        return source.vit(x, interpolate_pos_encoding=True).last_hidden_state[:, 0]

    network = NET.clone(epsilon=1e-12, antialias=False)
    compare(network, state_dict, computed(class_token, images(size, size)), images(size, size))


@needs("transformers")
@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("size", [16, 24])
@pytest.mark.parametrize("saved", [True, False])
def test_features_are_those_of_hugging_faces_dinov2(registers, size, saved, tmp_path):
    import transformers

    options = {key: value for key, value in COMMON.items() if key != "intermediate_size"}
    if registers:
        config = transformers.Dinov2WithRegistersConfig(**options, num_register_tokens=registers)
        source = transformers.Dinov2WithRegistersModel(config)
    else:
        source = transformers.Dinov2Model(transformers.Dinov2Config(**options))
    state_dict = randomised(source)
    state_dict = written_and_read(source, tmp_path) if saved else state_dict
    assert not_of_the_backbone(state_dict) == ["embeddings.mask_token"]
    network = DINOV2.clone(registers=registers, antialias=registers > 0)
    compare(network, state_dict, computed(lambda x: source(x).pooler_output, images(size, size)), images(size, size))


@needs("open_clip")
def test_features_are_those_of_open_clip():
    from open_clip.model import CLIP as OpenCLIP

    vision = {"layers": 2, "width": WIDTH, "head_width": WIDTH // HEADS, "patch_size": PATCH, "image_size": SIDE}
    source = OpenCLIP(
        8, vision, {"context_length": 6, "vocab_size": 20, "width": 8, "heads": 1, "layers": 1}, quick_gelu=True
    )
    state_dict = randomised(source)
    assert {"logit_scale", "transformer.resblocks.0.ln_1.weight"} < set(not_of_the_backbone(state_dict))
    compare(CLIP, state_dict, computed(source.encode_image, images()), images())


def test_what_is_no_part_of_the_network_is_named():
    state_dict = vit_reference.named(vit_reference.random_arrays(NET), "timm")
    assert is_vit(state_dict) and not is_vit({"layer1.0.conv1.weight": np.zeros(1)})
    with pytest.raises(InputError, match=r"'blocks\.0\.attn\.rel_pos\.bias' is no array of a vision transformer"):
        import_vit({**state_dict, "blocks.0.attn.rel_pos.bias": np.zeros(3)})


def test_positions_of_a_file_for_other_images_are_resampled_as_timm_does_it():
    positions = np.random.default_rng(0).normal(size=(1 + 36, 8)).astype(np.float32)
    fitted = fitted_positions(positions, 1 + 16)
    assert fitted.shape == (17, 8) and fitted_positions(positions, 40) is positions
    if importlib.util.find_spec("timm"):
        import torch
        from timm.layers import resample_abs_pos_embed

        wanted = resample_abs_pos_embed(torch.from_numpy(positions[None]), [4, 4])
        np.testing.assert_allclose(fitted, wanted[0].numpy(), atol=1e-5)
