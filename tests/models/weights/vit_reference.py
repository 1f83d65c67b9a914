"""A vision transformer in numpy, float64, from the equations; and how the libraries name its arrays.

Arrays are called as in the equations here: query0, ..., output0, each [out, in] as PyTorch keeps them.
"""

import math

import numpy as np

from ltjax.models.positions import resample_positions

# what the arrays of a block and of the network are called; {i} is the block's number
TIMM_BLOCK = {
    "query{i} key{i} value{i}": "blocks.{i}.attn.qkv",
    "output{i}": "blocks.{i}.attn.proj",
    "norm1_{i}": "blocks.{i}.norm1",
    "norm2_{i}": "blocks.{i}.norm2",
    "fc1_{i}": "blocks.{i}.mlp.fc1",
    "fc2_{i}": "blocks.{i}.mlp.fc2",
    "scale1_{i}": "blocks.{i}.ls1.gamma",
    "scale2_{i}": "blocks.{i}.ls2.gamma",
    "class": "cls_token",
    "positions": "pos_embed",
    "registers": "reg_token",
    "patches": "patch_embed.proj",
    "pre": "norm_pre",
    "norm": "norm",
    "projection": "head",
}
HUGGING_FACE = {
    **{f"{part}{{i}}": f"encoder.layer.{{i}}.attention.attention.{part}" for part in ("query", "key", "value")},
    "output{i}": "encoder.layer.{i}.attention.output.dense",
    "class": "embeddings.cls_token",
    "positions": "embeddings.position_embeddings",
    "registers": "embeddings.register_tokens",
    "patches": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
NAMES = {
    "timm": TIMM_BLOCK,
    "timm clip": TIMM_BLOCK,
    "timm dinov2": TIMM_BLOCK,
    "dinov2 with reg": {**TIMM_BLOCK, "registers": "register_tokens"},
    "hugging face vit": {
        **{name: f"vit.{theirs}" for name, theirs in HUGGING_FACE.items()},
        "norm1_{i}": "vit.encoder.layer.{i}.layernorm_before",
        "norm2_{i}": "vit.encoder.layer.{i}.layernorm_after",
        "fc1_{i}": "vit.encoder.layer.{i}.intermediate.dense",
        "fc2_{i}": "vit.encoder.layer.{i}.output.dense",
    },
    "hugging face dinov2 with reg": {
        **HUGGING_FACE,
        "norm1_{i}": "encoder.layer.{i}.norm1",
        "norm2_{i}": "encoder.layer.{i}.norm2",
        "fc1_{i}": "encoder.layer.{i}.mlp.fc1",
        "fc2_{i}": "encoder.layer.{i}.mlp.fc2",
        "scale1_{i}": "encoder.layer.{i}.layer_scale1.lambda1",
        "scale2_{i}": "encoder.layer.{i}.layer_scale2.lambda1",
    },
    "hugging face clip": {
        **{f"{part}{{i}}": f"vision_model.encoder.layers.{{i}}.self_attn.{part[0]}_proj" for part in ("query", "key")},
        "value{i}": "vision_model.encoder.layers.{i}.self_attn.v_proj",
        "output{i}": "vision_model.encoder.layers.{i}.self_attn.out_proj",
        "norm1_{i}": "vision_model.encoder.layers.{i}.layer_norm1",
        "norm2_{i}": "vision_model.encoder.layers.{i}.layer_norm2",
        "fc1_{i}": "vision_model.encoder.layers.{i}.mlp.fc1",
        "fc2_{i}": "vision_model.encoder.layers.{i}.mlp.fc2",
        "class": "vision_model.embeddings.class_embedding",
        "positions": "vision_model.embeddings.position_embedding.weight",
        "patches": "vision_model.embeddings.patch_embedding",
        "pre": "vision_model.pre_layrnorm",
        "norm": "vision_model.post_layernorm",
        "projection": "visual_projection",
    },
    "open_clip": {
        "query{i} key{i} value{i}": "visual.transformer.resblocks.{i}.attn.in_proj",
        "output{i}": "visual.transformer.resblocks.{i}.attn.out_proj",
        "norm1_{i}": "visual.transformer.resblocks.{i}.ln_1",
        "norm2_{i}": "visual.transformer.resblocks.{i}.ln_2",
        "fc1_{i}": "visual.transformer.resblocks.{i}.mlp.c_fc",
        "fc2_{i}": "visual.transformer.resblocks.{i}.mlp.c_proj",
        "class": "visual.class_embedding",
        "positions": "visual.positional_embedding",
        "patches": "visual.conv1",
        "pre": "visual.ln_pre",
        "norm": "visual.ln_post",
        "projection": "visual.proj",
    },
}
KINDS = {
    name: next((kind for kind in ("dinov2", "clip") if kind in name), "vit") for name in NAMES
}  # library -> which network
SINGLE = ("class", "positions", "registers", "scale1_", "scale2_")  # arrays without a bias


def random_arrays(net):
    """name -> {"weight", "bias"} or an array, float32, of a network as ``net`` describes it."""
    rng = np.random.default_rng(0)
    width = net.width

    def draw(*shape, mean=0.0):
        spread = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.2
        return (mean + spread * rng.normal(size=shape)).astype(np.float32)

    def layer(outputs, inputs):
        return {"weight": draw(outputs, inputs), "bias": draw(outputs)}

    def norm():
        return {"weight": draw(width, mean=1.0), "bias": draw(width)}

    arrays = {"class": draw(width), "positions": draw(1 + net.grid**2, width), "norm": norm()}
    arrays["patches"] = {"weight": draw(width, 3, net.patch, net.patch)} | (
        {} if net.pre_norm else {"bias": draw(width)}
    )
    for i in range(net.depth):
        arrays |= {f"{part}{i}": layer(width, width) for part in ("query", "key", "value", "output")}
        arrays |= {f"norm1_{i}": norm(), f"norm2_{i}": norm()}
        arrays |= {f"fc1_{i}": layer(4 * width, width), f"fc2_{i}": layer(width, 4 * width)}
        if net.layer_scale:
            arrays |= {f"scale{n}_{i}": draw(width, mean=1.0) for n in (1, 2)}
    if net.registers:
        arrays["registers"] = draw(net.registers, width)
    if net.pre_norm:
        arrays["pre"] = norm()
    if net.projection:
        arrays["projection"] = {"weight": draw(net.projection, width)}
    return arrays


def named(arrays, library):
    """The arrays as this library's state_dict has them."""
    found = {}
    depth = sum(name.startswith("output") for name in arrays)
    for ours, theirs in NAMES[library].items():
        for i in range(depth) if "{i}" in ours else [0]:
            parts, name = ours.format(i=i).split(), theirs.format(i=i)
            if parts[0] not in arrays:
                continue
            if parts[0].startswith(SINGLE):
                array = arrays[parts[0]]
                extra = (1,) * (3 - array.ndim) if name.endswith(("token", "tokens", "embed", "embeddings")) else ()
                found[name] = array.reshape(*extra, *array.shape)
            elif name.endswith(".proj") and parts[0] == "projection":
                found[name] = arrays[parts[0]]["weight"].T
            else:
                separator = "_" if name.endswith("in_proj") else "."
                for leaf in arrays[parts[0]]:
                    found[f"{name}{separator}{leaf}"] = np.concatenate([arrays[part][leaf] for part in parts])
    return found


def forward(arrays, pixels, net):
    """Features [B, d] of images [B, H, W, 3]."""
    a = {name: value for name, value in arrays.items()}
    batch, height, width, _ = pixels.shape
    rows, columns = height // net.patch, width // net.patch
    cut = pixels.astype(np.float64).reshape(batch, rows, net.patch, columns, net.patch, 3)
    patches = np.einsum("bhpwqc,dcpq->bhwd", cut, a["patches"]["weight"]) + a["patches"].get("bias", 0.0)
    positions = resample_positions(a["positions"], (net.grid, net.grid), (rows, columns), net.antialias)
    positions = np.asarray(positions, np.float64)
    first = [(a["class"] + positions[0])[None], *([a["registers"]] if net.registers else [])]
    first = np.broadcast_to(np.concatenate(first), (batch, 1 + net.registers, net.width))
    x = np.concatenate([first, patches.reshape(batch, rows * columns, -1) + positions[1:]], 1)
    x = norm(x, a["pre"], net.epsilon) if net.pre_norm else x
    for i in range(net.depth):
        x = x + attention(norm(x, a[f"norm1_{i}"], net.epsilon), a, i, net.heads) * a.get(f"scale1_{i}", 1.0)
        hidden = linear(norm(x, a[f"norm2_{i}"], net.epsilon), a[f"fc1_{i}"])
        if net.activation == "gelu":
            hidden = hidden * np.vectorize(lambda v: (1 + math.erf(v / math.sqrt(2))) / 2)(hidden)
        else:
            hidden = hidden / (1 + np.exp(-1.702 * hidden))
        x = x + linear(hidden, a[f"fc2_{i}"]) * a.get(f"scale2_{i}", 1.0)
    x = norm(x[:, 0], a["norm"], net.epsilon)
    return x @ a["projection"]["weight"].T if net.projection else x


def attention(x, arrays, i, heads):
    def of(name):
        return linear(x, arrays[f"{name}{i}"]).reshape(*x.shape[:2], heads, -1)

    scores = np.einsum("bqhd,bkhd->bhqk", of("query"), of("key")) / math.sqrt(x.shape[-1] // heads)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), of("value"))
    return linear(mixed.reshape(x.shape), arrays[f"output{i}"])


def linear(x, layer):
    return x @ layer["weight"].T + layer["bias"]


def norm(x, layer, epsilon):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + epsilon) * layer["weight"] + layer["bias"]
