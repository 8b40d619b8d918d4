"""One seed for Python, NumPy and torch."""

from __future__ import annotations


def set_seed(seed: int) -> None:
    """Seed every random number generator that initialisation, dropout and sampling draw from; from 0 to 2**32 - 1."""
    import transformers  # slow to import, and nothing is seeded before the command line has been read

    transformers.set_seed(seed)
