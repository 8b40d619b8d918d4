"""The one logger, configured in one place: a branch of the Transformers library's."""

from __future__ import annotations

import logging

from transformers.utils import logging as transformers_logging

_BRANCH = "transformers.odqa"


def get_logger(name: str) -> logging.Logger:
    """Return the logger of module ``name``; its lines go where Transformers' own lines go."""
    return transformers_logging.get_logger(f"{_BRANCH}.{name}")


def configure_logging(main_process: bool = True) -> None:
    """Show our lines from INFO (WARNING on secondary processes), with time and module."""
    transformers_logging.set_verbosity_warning()
    transformers_logging.reset_format()
    for handler in transformers_logging.get_logger("transformers").handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.getLogger(_BRANCH).setLevel(logging.INFO if main_process else logging.WARNING)
