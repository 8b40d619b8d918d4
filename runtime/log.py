"""The one logger, configured in one place: a branch of the Transformers library's."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runtime.terminal import shown
from runtime.text import escaped

_BRANCH = "transformers.odqa"
_LIBRARIES = ("transformers", "datasets", "huggingface_hub")  # with a handler of their own


class _Shown(logging.Formatter):
    """Lets no value in a line command the terminal, begin another line, or show credentials."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        if isinstance(record.args, tuple):
            texts = (str, Path, BaseException)
            record.args = tuple(escaped(str(arg)) if isinstance(arg, texts) else arg for arg in record.args)
        return shown(super().format(record))


class _AboveBars(logging.Handler):
    """Writes lines to standard error, above the progress bars that a terminal shows."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


def get_logger(name: str) -> logging.Logger:
    """Return the logger of module ``name``; its lines go where Transformers' own lines go."""
    return logging.getLogger(f"{_BRANCH}.{name}")


def configure_logging(main_process: bool = True) -> None:
    """Show our lines from INFO (WARNING on secondary processes), with the time, and warnings of others likewise.

    Transformers' own progress bars, one for each file that is read or written, are not shown, and those of data sets
    only in a terminal.
    """
    from transformers.utils import logging as transformers_logging  # a heavy import, and importing us needs it not

    transformers_logging.set_verbosity_warning()
    transformers_logging.disable_progress_bar()
    handler = _AboveBars()
    handler.setFormatter(_Shown("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    others = _AboveBars(logging.WARNING)  # some loggers let everything pass
    others.setFormatter(handler.formatter)
    for library in map(logging.getLogger, _LIBRARIES):
        library.handlers[:] = [handler]
        library.propagate = False
    if not logging.root.handlers:
        logging.root.addHandler(others)
    warnings.showwarning = _log_warning
    if not sys.stderr.isatty():
        from datasets import disable_progress_bars  # a heavy import, and not every command needs it

        disable_progress_bars()
    logging.getLogger(_BRANCH).setLevel(logging.INFO if main_process else logging.WARNING)


def show_only_warnings() -> None:
    """Show our lines from WARNING on: for answers in a terminal, once everything is loaded."""
    logging.getLogger(_BRANCH).setLevel(logging.WARNING)


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Take the place of ``warnings.showwarning``, which would write across a progress bar."""
    text = " ".join(str(message).split())
    logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, text, Path(filename).name, lineno)
