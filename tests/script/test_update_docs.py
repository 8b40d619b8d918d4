"""Pages that follow from the code say what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = runpy.run_path(str(ROOT / "script/update_docs.py"))


@pytest.mark.parametrize("path", SCRIPT["PAGES"])
def test_the_page_is_what_the_script_writes(path: str) -> None:
    written = SCRIPT[SCRIPT["PAGES"][path]]()
    assert (ROOT / path).read_text(encoding="utf-8") == written, "python script/update_docs.py"
    assert written.count("\n## ") == 12 and "`--max_seq_len MAX_SEQ_LEN`" in written
