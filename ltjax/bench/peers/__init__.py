"""The PyTorch side of the benchmarks, in fast idiomatic PyTorch. torch is only imported when a function is called."""
