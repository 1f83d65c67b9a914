"""``ltjax prepare``: data sets in the formats that training reads: shards, a CIFAR .npz file, TFDS."""
