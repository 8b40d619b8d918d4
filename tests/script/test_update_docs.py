"""The page that follows from the code says what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = runpy.run_path(str(Path(__file__).resolve().parent.parent.parent / "script/update_docs.py"))


def test_the_page_is_what_the_script_writes() -> None:
    written = SCRIPT["flags_page"]()
    assert SCRIPT["PAGE"].read_text(encoding="utf-8") == written, "python script/update_docs.py"
    assert written.count("\n## ") == len(SCRIPT["COMMANDS"]) + 1 and "`--max_seq_len MAX_SEQ_LEN`" in written
