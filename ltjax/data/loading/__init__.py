"""Batches: made from positions, read ahead in threads or processes, or drawn on the device."""
