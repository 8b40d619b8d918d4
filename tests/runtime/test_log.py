"""Lines of the log: what is in a value stays in its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import warnings
from pathlib import Path
from runtime.log import configure_logging, get_logger
configure_logging()
logger = get_logger("x")
logger.warning("%s: %d of %.1f %%", "id \\x1b[2J\\n12:00:00 INFO fake", 3, 2.5)
logger.info("two\\nlines of ours, %s, %s", Path("a\\nb"), ValueError("https://me:secret@host/?token=secret\\x07"))
logger.info("no values at all")
warnings.warn("\\x1b[31mred")
"""


def test_values_neither_command_the_terminal_nor_begin_a_line():
    words = [sys.executable, "-W", "default", "-c", _PROGRAM]
    result = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    lines = [line.partition(" ")[2] if line[0].isdigit() else line for line in result.stderr.splitlines()]
    assert lines == [
        "WARNING id \\x1b[2J\\n12:00:00 INFO fake: 3 of 2.5 %",
        "INFO two",
        "lines of ours, a\\nb, https://***@host/?token=***",
        "INFO no values at all",
        "WARNING UserWarning: \\x1b[31mred (<string>:10)",
    ]
    assert result.stdout == ""
