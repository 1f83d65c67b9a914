"""Data of chips, and the number of operations in a program."""
