"""Whether a run fits a TPU slice or GPUs and how long it takes there: from the compiler, before it is paid for."""
