"""Smaller commands, run as ``python -m tools.NAME``."""
