"""What a setting is where a recipe says nothing about it, and how runs of each kind of data set are carried out."""

from tests.recipes.table import Word

UNUSED = "ours: without effect unless a recipe uses it"

# Settings of the data, the network and the run
DEFAULTS = {
    "ours: how a run is carried out, which changes no result": {
        "seeds_by": "auto",
        "fsdp": 1,
        "steps_per_call": 0,
        "cuda_graphs": "auto",
        "data.dir": "",
        "data.source": "auto",
        "data.workers": 0,
        "data.on_error": "stop",
        "data.allow_outside": False,
        "data.max_skipped": 100,
        "data.verify": "sample",
        "data.timeout": 600.0,
        "data.on_device": "auto",
        "features.dir": "",
        "features.memory_mb": 1000.0,
        "evaluation.batch_size": 500,
        "checkpoint.every_steps": 200,
        "checkpoint.keep": 2,
        "tracker": "",
        "tracking.project": "ltjax",
        "tracking.name": "",
    },
    "ours: one seed, whole batches, float32": {
        "seed": 0,
        "num_seeds": 1,
        "micro_batches": 1,
        "dtype": "float32",
        "init_from": "",
        "model.remat": False,
        "model.norm_group": 0,
        "optimizer.rate_rule": "none",
        "optimizer.recipe_batch_size": 0,
    },
    "ours: what is logged and evaluated": {
        "evaluation.every_epochs": 0,
        "gradients.every_steps": 0,
        "gradients.frequent_classes": 0,
        "watch_classes": (),
        "log_every_steps": 20,
    },
    "Cao et al. (2019), authors' code: exponential, images chosen with seed 0": {
        "data.profile": "exp",
        "data.selection_seed": 0,
        "data.imbalance": 100.0,
    },
    "ours: the training images as they are, all of them": {
        "data.sampler": "instance_balanced",
        "data.augment": "none",
        "data.fast_decode": False,
        "data.interpolation": "bilinear",
        "data.preprocessing": "backbone",
        "data.validation_fraction": 0.0,
        "data.validation_use": "evaluate",
        "data.test_fraction": 0.2,
        "data.train_list": "",
        "data.val_list": "",
        "data.test_list": "",
        "data.class_names": "",
        "data.tfds": "",
        "data.image_column": "",
        "data.label_column": "",
        "data.split_column": "",
        "data.name": "",
    },
    "torchvision's evaluation of ImageNet, which all four papers use": {"data.image_size": 224, "data.resize": 256},
    "ours: the network as published, from random weights": {
        "model.backbone": "resnet32",
        "model.width": 1,
        "model.zero_init": False,
        "model.drop_path": 0.0,
        "model.pretrained": "",
        "model.needs_pretrained": False,
        "model.text": "",
        "model.vocabulary": "",
        "model.input_size": 0,
        "model.features": 0,
        "tuning.name": "all",
    },
    "ours: nothing is mixed, the loss is as published, and so is the head": {
        "mix.name": "none",
        "loss.label_smoothing": 0.0,
        "loss.smoothing": "uniform",
        "loss.tail_smoothing": 0.0,
        "loss.tau": 0.0,
        "model.head": "linear",
        "model.learn_cosine_scale": False,
    },
    "Cao et al. (2019), Wang et al. (2021), authors' code": {"model.cosine_scale": 30.0},
    "Zhang et al. (2018), Yun et al. (2019): uniform shares, every batch": {"mix.alpha": 1.0, "mix.probability": 1.0},
    "Chou et al. (2020), section 4": {"mix.kappa": 3.0, "mix.tau": 0.5},
    "Liu et al. (2019) as Kang et al. (2020), section 5.1, state it: many > 100, few < 20": {
        "evaluation.shots": "strict"
    },
    "ours: thirds of the classes, which Cui et al. (2022), section 4.1, have on CIFAR-10": {
        "evaluation.index_boundaries": ()
    },
    "Cao et al. (2019), authors' code": {
        "method": "ce",
        "epochs": 200,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": False,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.milestones": (160, 180),
    },
    "Kang et al. (2020), authors' code": {"optimizer.weight_decay": 5e-4},
    "Cui et al. (2022), section 4.1": {"optimizer.schedule.decay": 0.1},
    UNUSED: {
        "family": "",
        "recipe": "",
        "optimizer.name": "sgd",
        "optimizer.betas": (0.9, 0.999),
        "optimizer.epsilon": 1e-8,
        "optimizer.backbone_rate": 1.0,
        "optimizer.decay_norms_and_biases": True,
        "optimizer.backbone_decay": 1.0,
        "optimizer.head_decay": 1.0,
        "optimizer.sam_rho": 0.0,
        "optimizer.sam_below": 0,
        "optimizer.ema_decay": 0.0,
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.warmup_start": 0.0,
        "optimizer.schedule.cosine_includes": "start",
        "tuning.size": 0,
        "tuning.blocks": 1,
        "tuning.cached": False,
    },
}

# How runs of a kind of data set are carried out (ltjax/settings/config_file.py)
CIFAR_RUNS = {"ours: intervals": {"evaluation.every_epochs": 20, "checkpoint.every_steps": 1000}}
LARGE_RUNS = {
    "ours: precision, loading and intervals": {
        "dtype": "bfloat16",
        "log_every_steps": 50,
        "data.workers": 8,
        "evaluation.batch_size": 512,
        "evaluation.every_epochs": 10,
        "checkpoint.every_steps": 1000,
    }
}
USER_RUNS = {
    "ours: for a few thousand images": {
        "log_every_steps": 10,
        "data.workers": 4,
        "evaluation.batch_size": 64,
        "evaluation.every_epochs": 10,
    },
    "ours: thirds of the classes; the papers' thresholds of 100 and 20 images often leave a group empty": {
        "evaluation.shots": "index"
    },
}
MNIST_RUNS = {"ours: intervals": {"evaluation.every_epochs": 5, "log_every_steps": 6}}

# Words that every config file has
COMMON_WORDS: dict[str, Word] = {
    "sampler=square_root": {"Kang et al. (2020), table 5": {"data.sampler": "square_root"}},
    "imbalance=50": {"the papers' 0.02": {"data.imbalance": 50.0}},
    "backbone=resnet20": {"a given backbone": {"model.backbone": "resnet20"}},
    "width=3": {"Cui et al. (2022), figure 4": {"model.width": 3}},
    "features=512": {"Zhang et al. (2019), section 4.3": {"model.features": 512}},
    "backbone_rate=0.1": {"a given factor": {"optimizer.backbone_rate": 0.1}},
    "from_scratch": {"ours: what a recipe without pretrained weights has": {"optimizer.backbone_rate": 1.0}},
    "batch_size=64": lambda first: {
        **first,
        "batch_size": (64, "a given batch"),
        "optimizer.recipe_batch_size": (128, "ours: the rates stay those of the recipe's"),
    },
    "epochs=100": {
        "ours: the schedule scales": {
            "epochs": 100,
            "optimizer.schedule.milestones": (80, 90),
            "optimizer.schedule.warmup_epochs": 2,
        }
    },
}

# The word "short" of the small data sets
SHORT = {
    "ours: ten epochs, cosine per step from 0.1 to 0": {
        "epochs": 10,
        "evaluation.every_epochs": 0,
        "checkpoint.every_steps": 200,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "step",
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.cosine_includes": "start",
    }
}
