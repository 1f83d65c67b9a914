"""What a method cannot be combined with: settings that all methods have, and why this one refuses them.

``Method.refuses`` is a mapping from a setting's flat key to a reason, which ends the sentence "config.mix.name:
impossible value 'mixup'; allowed: 'none' with config.method=triplet: ...". "mix.name=remix" refuses that value alone.
It is checked before any data is read.
"""

from collections.abc import Mapping

from ltjax.settings import Settings
from ltjax.settings.identity import all_leaves
from ltjax.settings.schema import flat, refuse

MIX, SMOOTHING, TAU, HEAD = "mix.name", "loss.label_smoothing", "loss.tau", "model.head"
REMIX = "mix.name=remix"  # every image has a share of its own

# Of a method that says nothing: what would be ignored, or mean something else, unless the method was written for it
UNDECLARED: Mapping[str, str] = {
    MIX: "the method does not declare that each image has its own loss (Method.refuses)",
    SMOOTHING: "the method does not declare that its loss takes it (Method.refuses)",
    TAU: "the method does not declare that its loss takes it (Method.refuses)",
    HEAD: "the method does not declare that its network takes another head (Method.refuses)",
}

# What several methods refuse
OWN_LOSS = {key: "its loss is not a plain softmax cross-entropy" for key in (SMOOTHING, TAU)}
OWN_ADJUSTMENT = {TAU: "its loss adjusts the logits already"}
ONE_NUMBER = {REMIX: "its loss is one number for the whole batch"}
TWO_STREAMS = {REMIX: "it has two streams of images in one loss"}
COMPARES_IMAGES = {MIX: "its loss compares the images of a batch"}
COSINE_ALREADY = {HEAD: "its classifier compares directions already"}
OWN_HEAD = {HEAD: "it has a head of its own"}
# of one method each
RESLT = OWN_LOSS | {HEAD: "its branches have a head of their own"}
DECOUPLING = {HEAD: "its second stages rescale or replace a linear classifier"}
ASYNCHRONOUS = (
    {key: "each of its phases learns from a part of the classes" for key in (SMOOTHING, TAU)}
    | {MIX: "its graph matching compares the images of a batch"}
    | COSINE_ALREADY
)
AUXILIARY = (
    {key: "its classifiers learn from batches of their own" for key in (SMOOTHING, TAU)}
    | {HEAD: "its two classifiers are linear"}
    | TWO_STREAMS
)
CB_FOCAL = OWN_LOSS | {HEAD: "its classifier starts with a bias"}
MIXES_ALREADY = {MIX: "it mixes the images itself (config.baseline.alpha)"}
BBN = TWO_STREAMS | {
    TAU: "its second stream has the classes in reverse",
    HEAD: "it weighs the two halves of a linear classifier",
}
RIDE = OWN_LOSS | ONE_NUMBER | {HEAD: "its experts have one of their own, config.baseline.head"}
PROXY = OWN_HEAD | ONE_NUMBER
LFME = {
    MIX: "its curriculum weighs single images",
    SMOOTHING: "its experts and its student have losses of their own",
    TAU: "its experts and its student have losses of their own",
    HEAD: "its curriculum reads linear classifiers",
}
FSLWF = {
    MIX: "its episodes make weights of single images",
    SMOOTHING: "its episodes have a loss of their own",
    TAU: "its episodes have a loss of their own",
} | COSINE_ALREADY
FSA = {HEAD: "its second stage reads the activation maps of a linear classifier"}
OLTR = {
    HEAD: "its memory starts from a linear classifier",
    REMIX: "the loss of its memory is one number for the whole batch",
}
DISALIGN = {HEAD: "its second stage aligns a linear classifier"} | {
    key: "its second stage has a loss of its own" for key in (SMOOTHING, TAU)
}
GCL = OWN_LOSS | COSINE_ALREADY
MISLAS = {HEAD: "its second stage scales a linear classifier"} | {
    key: "its second stage has a loss of its own" for key in (SMOOTHING, TAU)
}
WEIGHT_BALANCING = {HEAD: "it bounds the weights of a linear classifier"} | {
    key: "its second stage has a loss of its own" for key in (SMOOTHING, TAU)
}
VS = OWN_LOSS | {HEAD: "its classifier is config.vs.head"}
LADE = OWN_LOSS | {
    MIX: "its regularizer estimates the densities of images that are not mixed",
    HEAD: "its logits are log densities, which cosines cannot be",
}
IB = OWN_LOSS | {HEAD: "its influence is that of a linear classifier"}
SADE = {key: "each of its experts has a loss of its own" for key in (MIX, SMOOTHING, TAU)} | {
    HEAD: "its experts have one of their own, config.sade.head",
}
SHIKE = {key: "its experts teach each other about the wrong classes of an image" for key in (MIX, SMOOTHING, TAU)} | {
    HEAD: "its experts have one of their own, config.shike.head",
}
MDCS = {key: "each of its experts has a loss of its own" for key in (MIX, SMOOTHING, TAU)} | {
    HEAD: "its experts have one of their own, config.mdcs.head",
}
# of views that are projected and compared
OF_VIEWS = COMPARES_IMAGES | OWN_LOSS | {HEAD: "its classifier is that of its own settings"}
GLMC = OWN_LOSS | {MIX: "it mixes the images itself", HEAD: "its two classifiers are linear"}
CMO = OWN_LOSS | {MIX: "it pastes images itself", HEAD: "its classifier is that of config.cmo.loss"}

# a sigmoid for each class
SEVERAL_LABELS = {
    MIX: "its images have classes that mixing would have to join",
    SMOOTHING: "its loss is of a sigmoid for each class",
    TAU: "its loss is of a sigmoid for each class",
    HEAD: "its classifier starts with a bias",
    "watch_classes": "an image has a loss for each of its classes",
    "gradients.every_steps": "an image can be of a frequent and of a rare class at once",
    "optimizer.sam_below": "an image can be of a frequent and of a rare class at once",
}
LIFT = {key: "its loss is config.lift.loss" for key in (SMOOTHING, TAU)} | COSINE_ALREADY


def check_combination(settings: Settings, refuses: Mapping[str, str]) -> None:
    """Raises InputError, one line, for a setting that the method refuses and that has another value than the default.

    Args:
      settings: of the run.
      refuses: ``Method.refuses`` of its method.
    """
    values, known = flat(settings.to_dict()), all_leaves(settings)
    for setting, why in refuses.items():
        key, _, refused = setting.partition("=")
        default = known[key][0] if key in known else None
        value = values.get(key, default)
        if value == refused if refused else value != default:
            allowed = "another value" if refused else repr(default)
            refuse(f"config.{key}", value, f"{allowed} with config.method={settings.method}: {why}")
