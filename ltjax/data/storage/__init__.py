"""Files as data sets are stored in them: image folders, lists, shards, CIFAR's formats, TFDS records."""
