"""A data set and a network small enough to train in a test, and a method that uses every field of a Stage."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ltjax.data import Data, Source
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced
from ltjax.losses import cross_entropy
from ltjax.methods import configure
from ltjax.methods.common import classify
from ltjax.methods.stage import ClosedForm, Outcome, Stage, Start, Term, Updates
from ltjax.models import LinearHead, Network
from ltjax.models.norm import BatchNorm
from ltjax.settings import config_file
from ltjax.training.step.step import make_apply

COUNTS = (24, 12, 6)


class Backbone(nn.Module):
    """One convolution, batch norm, ReLU."""

    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train=False, frozen_norm=False):
        x = nn.Conv(4, (3, 3), use_bias=False, dtype=self.dtype, param_dtype=self.param_dtype, name="conv")(x)
        x = BatchNorm(dtype=self.dtype, param_dtype=self.param_dtype, name="norm")(
            x, train=train, frozen_norm=frozen_norm
        )
        return nn.relu(x)


def source(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    noise = np.random.RandomState(seed).randint(0, 64, (len(labels), 8, 8, 1))
    images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
    return Source(labels=labels, index=np.arange(len(labels), dtype=np.int64), read=lambda i: images[i])


def build(settings):
    del settings
    return Data(
        name="toy",
        train=source(COUNTS, 0),
        test=source((7, 7, 7), 1),
        split="test",
        num_classes=3,
        class_counts=np.array(COUNTS),
        image_shape=(8, 8, 1),
        mean=(0.5,),
        std=(0.25,),
        class_names=None,
        fingerprint="toy" * 20,
    )


def recipe(method="ce", second_stage=False, **changes):
    """The toy's ConfigDict; "__" in a change stands for a dot."""
    made = configure.new_config(method, family="")
    made.data.name, made.model.backbone = "toy", "toy"
    made.epochs, made.batch_size, made.log_every_steps = 2, 8, 2
    made.evaluation.batch_size = 8
    made.evaluation.index_boundaries = (1, 2)
    made.optimizer.learning_rate = 0.02
    made.optimizer.schedule.name = "constant"
    made.checkpoint.every_steps = 3
    if method == "reslt":
        made.reslt.alpha = 0.5
    if second_stage:
        config_file.add_second_stage(made)
    made.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return made


def config(method="ce", second_stage=False, **changes):
    """The toy's settings."""
    return configure.resolve(recipe(method, second_stage, **changes))


def changed(settings, **changes):
    """The settings with some of them changed; "__" stands for a dot."""
    return settings.replaced({key.replace("__", "."): value for key, value in changes.items()})


def network(num_classes=3, dtype="float32"):
    types = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.promote_types(dtype, jnp.float32)}
    head = LinearHead(num_classes, **types)
    return Network(backbone=Backbone(**types), head=head, mean=(0.5,), std=(0.25,), dtype=types["dtype"])


def stage(settings, name="first", **changes):
    net = network(dtype=settings.dtype)
    fields = {
        "network": net,
        "epochs": settings.epochs,
        "optimizer": settings.optimizer,
        "streams": {"image": instance_balanced()},
        "init": lambda key, previous, features: Start(net.init(key, jnp.zeros((1, 8, 8, 1), jnp.uint8), train=False)),
        "objective": classify("image", cross_entropy),
        "predict": lambda variables, images: net.apply(variables, images).logits,
    }
    return Stage(name, **(fields | changes))


def start_of(stage, seed=0):
    """What a stage that needs none before it starts from; one program, not one for each operation."""

    def start(key):
        made = stage.init(key, None, None)
        return made._replace(frozen=dict(made.frozen), tables=dict(made.tables), extras=dict(made.extras))

    return jax.jit(start)(jax.random.key(seed))


def outcome_of(stage, state, batch, context):
    """What the objective makes of a batch, as one program."""

    def outcome(params, model_state, batch):
        return stage.objective(make_apply(stage), params, model_state, batch, context)

    return jax.jit(outcome)(state.params, state.model_state, batch)


def in_training(stage, variables, images, **options):
    """What the stage's network makes of images in training, and the batch statistics after them, as one program."""

    def apply(variables, images):
        return stage.network.apply(variables, images, train=True, mutable=["batch_stats"], **options)

    return jax.jit(apply)(variables, images)


def three_stages(settings, own, data):
    """Representation; then the head alone on two streams against a frozen teacher; then a closed form."""
    del own
    first = stage(settings)

    def second_init(key, previous, features):
        del key
        teacher = jax.tree.map(np.asarray, previous.variables)
        means = features(previous.variables, np.arange(len(data.train))).mean(0)
        return Start(
            previous.variables,
            frozen={"teacher": teacher, "means": means},
            tables={"rare": class_balanced().tables(np.zeros(6, np.int32), 1)},  # draws from records 0 to 5 alone
            extras={"running": jnp.zeros(())},
        )

    def second_objective(apply, params, model_state, batch, context):
        plain, model_state = apply(params, model_state, batch["image"]["image"])
        rare, model_state = apply(params, model_state, batch["rare"]["image"])
        teacher = first.network.apply(context.frozen["teacher"], batch["image"]["image"]).logits
        distance = jnp.sum((plain.logits - teacher) ** 2, -1)
        terms = {
            "plain": Term(cross_entropy(plain.logits, batch["image"]["label"])),
            "rare": Term(cross_entropy(rare.logits, batch["rare"]["label"]), scale=0.5),
            "distance": Term(distance, scale=0.1),
        }
        extras = {"running": 0.9 * context.extras["running"] + jnp.mean(context.frozen["means"])}
        return Outcome(terms, model_state, {"largest": jnp.max(batch["rare"]["index"]).astype(jnp.float32)}, extras)

    second = stage(
        settings,
        "second",
        epochs=1,
        streams={"image": instance_balanced(), "rare": class_balanced()},
        init=second_init,
        objective=second_objective,
        updates=Updates(trainable=("head",), rates={"head/classifier/bias": 0.0}, norm="frozen"),
    )

    def third_init(key, previous, features):
        del key, features
        kernel = previous.variables["params"]["head"]["classifier"]["kernel"]
        params = {**previous.variables["params"]}
        head = {**params["head"], "classifier": {**params["head"]["classifier"], "kernel": 2 * kernel}}
        return Start({**previous.variables, "params": {**params, "head": head}})

    return [first, second, ClosedForm("third", first.network, third_init, first.predict)]
