"""Every setting that all methods have, with its neutral value."""

from ml_collections.config_dict import ConfigDict


def base(method: str) -> ConfigDict:
    """Every setting that all methods have. Numbers here are neutral; the data sets' recipes follow below."""
    return ConfigDict(
        {
            "method": method,
            "family": "",  # the config file's, which fills in what overrides leave open
            "seed": 0,  # of initialisation, data order and augmentation
            "num_seeds": 1,  # seed, seed + 1, ... trained in one program; results are their mean and deviation
            "seeds_by": "auto",  # how: vmap, unroll, or auto, what is faster on this kind of device
            "steps_per_call": 0,  # training steps of one program with the data on the device; 0 = automatic
            "epochs": 200,
            "batch_size": 128,  # over all devices; the last, smaller batch of an epoch is dropped
            "micro_batches": 1,  # parts of a batch that a step takes one after the other, where the whole does not fit
            "recipe": "",  # the data set, as the config file's name has it
            "init_from": "",  # the workdir of a finished run: its last stage takes the place of the first stage
            "dtype": "float32",  # of the computation: float32, bfloat16 (parameters stay float32) or float64
            "data": {
                "name": "",
                "dir": "",  # where the data lies; "" = $LTJAX_DATA_DIR, or else TFDS's own directory
                # auto, npz, python (CIFAR's official batches), list (the large sets' list files), shards or tfds
                "source": "auto",
                # list files of 'relative/path label' lines: as given, or under dir; "" = the data set's own names
                "train_list": "",
                "val_list": "",
                "test_list": "",
                "class_names": "",  # of lists: a file with a class's name a line, by label; "" = the images' folders
                "tfds": "",  # NAME or NAME:VERSION of name="tfds"
                "test_fraction": 0.2,  # of every class, held out for testing where a set has no test images
                "image_size": 224,  # pixels, of pictures that have sizes of their own; evaluation takes the centre ...
                "resize": 256,  # ... of the picture, its shorter side resized to this
                "imbalance": 100.0,  # images of the largest class / images of the smallest; 1 = as the set comes
                "profile": "exp",  # exp or step
                "selection_seed": 0,  # which images the long-tailed set keeps
                "validation_fraction": 0.0,  # > 0: hold out this part of train ...
                "validation_use": "evaluate",  # ... evaluate: on it, not on test; choose: a method's choices, then test
                "sampler": "instance_balanced",  # class_balanced, square_root, progressive, class_cycle or reversed
                "augment": "none",
                "workers": 0,  # data processes, of all seeds together; 0 = a thread of this process
                "on_error": "stop",  # at a training image that cannot be read; skip: take another one of its class
                "max_skipped": 100,  # skip: with one more the run stops
                "timeout": 600.0,  # seconds without a batch after which the run stops; 0: never
                "on_device": "auto",  # yes: all images lie on the device as uint8; auto: if in memory and they fit; no
            },
            "model": {
                "backbone": "resnet32",
                "width": 1,  # of the CIFAR ResNets: a factor on all channels
                "zero_init": False,  # the last batch norm of every block starts with scale 0
                "remat": False,  # recompute every block in the backward pass: less memory, about a third more time
                "norm_group": 0,  # images that share batch statistics, neighbours in the batch; 0: all of the batch
                "pretrained": "",  # an .npz of a PyTorch state_dict: where the backbone starts
            },
            "optimizer": {  # SGD
                "learning_rate": 0.1,
                "recipe_batch_size": 0,  # images a step that this rate is for: the recipe's own; 0: not known
                "rate_rule": "none",  # of another batch size: none, linear (rate * ratio) or sqrt (rate * root of it)
                "momentum": 0.9,
                "nesterov": False,
                "weight_decay": 5e-4,  # on every parameter
                "backbone_rate": 1.0,  # factor on the learning rate of the backbone
                "schedule": {
                    "name": "step",  # step, cosine or constant
                    "unit": "epoch",  # how often the rate changes: epoch or step
                    "warmup_epochs": 0,
                    "warmup_start": 0.0,  # the rate rises linearly from this part of it
                    "milestones": (160, 180),  # step: finished epochs after which the rate is multiplied by ...
                    "decay": 0.1,  # ... this
                },
            },
            "evaluation": {
                "batch_size": 500,
                "every_epochs": 0,  # 0: only after the last epoch, which is the one reported
                "shots": "strict",  # strict (many > 100, few < 20), inclusive (>= 100, <= 20) or index
                "index_boundaries": (3, 6),  # index: by frequency, before the first many, from the second few
            },
            "gradients": {  # how far the gradients of frequent and of rare classes point apart, logged as gradient/...
                "every_steps": 0,  # 0: never
                "frequent_classes": 0,  # how many count as frequent; 0: those with at least 20 images
            },
            "features": {  # of all images by a network that stands still, for second stages: made once and kept
                "dir": "",  # where; "" = features/ in the workdir of the first stage (init_from), or else in our own
                "memory_mb": 1000.0,  # larger ones are mapped from their file, not loaded
            },
            "watch_classes": (),  # classes whose mean training loss is logged as class_loss/<class>
            "log_every_steps": 20,
            "checkpoint": {"every_steps": 200, "keep": 2},
        }
    )
