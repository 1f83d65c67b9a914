"""Dry runs: the compiler's memory and time bounds of a run on TPUs or GPUs, before they are paid for."""
