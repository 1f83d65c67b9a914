"""Provoked faults: nothing is lost, nothing is silently wrong, and one line says what, where and what to do."""
