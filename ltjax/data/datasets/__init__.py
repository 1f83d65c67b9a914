"""The data sets: each is a function from ``config.data`` to ``Data``."""
