"""Batches: made from positions and prefetched in threads or processes, or drawn on the device."""
