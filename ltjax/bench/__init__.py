"""Benchmarks: ``python -m ltjax.bench NAME``. They measure and print; no test depends on a time."""
