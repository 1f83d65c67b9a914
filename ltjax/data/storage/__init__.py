"""The file formats in which data sets are stored: image folders, lists, shards, CIFAR's formats, TFDS records."""
