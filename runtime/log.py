"""The one logger, configured in one place: a branch of the Transformers library's."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers.utils import logging as transformers_logging

_BRANCH = "transformers.odqa"
_LIBRARIES = ("transformers", "datasets", "huggingface_hub")  # with a handler of their own


class _AboveBars(logging.Handler):
    """Writes lines to standard error, above the progress bars that a terminal shows."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


def get_logger(name: str) -> logging.Logger:
    """Return the logger of module ``name``; its lines go where Transformers' own lines go."""
    return transformers_logging.get_logger(f"{_BRANCH}.{name}")


def configure_logging(main_process: bool = True) -> None:
    """Show our lines from INFO (WARNING on secondary processes), with the time, and warnings of others likewise.

    The progress bars of other libraries are only shown in a terminal.
    """
    transformers_logging.set_verbosity_warning()
    handler = _AboveBars()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    for library in map(logging.getLogger, _LIBRARIES):
        library.handlers[:] = [handler]
        library.propagate = False
    if not logging.root.handlers:
        logging.root.addHandler(handler)
    warnings.showwarning = _log_warning
    if not sys.stderr.isatty():
        from datasets import disable_progress_bars  # which not every command needs

        transformers_logging.disable_progress_bar()
        disable_progress_bars()
    logging.getLogger(_BRANCH).setLevel(logging.INFO if main_process else logging.WARNING)


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Take the place of ``warnings.showwarning``, which would write across a progress bar."""
    text = " ".join(str(message).split())
    logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, text, Path(filename).name, lineno)
