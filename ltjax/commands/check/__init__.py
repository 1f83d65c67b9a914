"""``ltjax check``: finds what is wrong with a data set before a long run."""
