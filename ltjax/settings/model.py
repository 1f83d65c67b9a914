"""The settings of the network."""

import dataclasses

from ltjax.settings.schema import Block, fraction, integer, one_of, positive, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings(Block):
    """The backbone of the network; the method adds the head."""

    backbone: str = setting(
        "resnet32", "the backbone: a name in ltjax, or your function as FILE.py:NAME or package.module:NAME"
    )
    width: int = setting(1, "factor on the number of channels, for the CIFAR ResNets", integer(1, 64))
    zero_init: bool = setting(False, "initialise the scale of the last batch norm of each residual block to 0")
    remat: bool = setting(False, "recompute each block in the backward pass: less memory, about a third more time")
    drop_path: float = setting(
        0.0,
        "stochastic depth: probability that an image skips the last residual block in training; block l of L has l/L "
        "of it; 0 = off",
        fraction,
        added_later=True,
    )
    norm_group: int = setting(
        0,
        "number of neighbouring images in a batch that share batch norm statistics; 0 = the whole batch",
        integer(0),
        added_later=True,
    )
    pretrained: str = setting(
        "",
        "initial weights of the backbone: .safetensors, .npz, .pth, hf://OWNER/NAME or package://PACKAGE/FILE; '' = "
        "random",
    )
    needs_pretrained: bool = setting(
        False,
        "the recipe's rates are for pretrained weights: refuse to train without model.pretrained; the word "
        "from_scratch resets both",
        run_only=True,
    )
    text: str = setting(
        "",
        "weights of CLIP's text tower, which makes a classifier of class names: a file as pretrained; '' = that of "
        "pretrained",
        run_only=True,
    )
    vocabulary: str = setting(
        "",
        "the text tower's vocabulary: a folder with merges.txt and vocab.json, or bpe_simple_vocab_16e6.txt.gz; '' = "
        "beside the weights",
        run_only=True,
    )
    input_size: int = setting(
        0,
        "side in pixels to which the network enlarges its images, for small images before a network for larger ones; "
        "0 = they stay as they are",
        integer(0, 4096),
        added_later=True,
    )
    features: int = setting(
        0,
        "width of a layer with ReLU after the pooling, before the classifier of any method (512 in the networks of "
        "OLTR and CBS+RRS+SS); 0 = no such layer",
        integer(0, 65536),
        added_later=True,
        formerly=("auxiliary.features", "oltr.features"),
    )
    head: str = setting(
        "linear",
        "the classifier of methods that have no other: linear, or cosine (cosine_scale times the cosine of features "
        "and weights, no bias)",
        one_of("linear", "cosine"),
        added_later=True,
    )
    cosine_scale: float = setting(
        30.0, "for head=cosine: the factor on the cosines; LDAM's and RIDE's is 30", positive, depends_on="model.head"
    )
    learn_cosine_scale: bool = setting(
        False, "for head=cosine: train that factor, from cosine_scale on", depends_on="model.head"
    )
