"""The notebook runs from its first cell to its last, and is kept without what it printed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from models import load_reader

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs/quickstart.ipynb"


def test_the_notebook_runs(
    encoder_path: str,
    trained_reader: str,
    dataset_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT / "docs")
    monkeypatch.setattr("sys.path", [path for path in sys.path if Path(path).resolve() != ROOT])
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    outputs = []
    for number, cell in enumerate(cells):
        code = (
            "".join(cell["source"]).replace("saved/e5-small-ko", encoder_path).replace("data/mini_wiki", dataset_path)
        )
        code = code.replace("saved/quickstart", trained_reader).replace("saved/notebook", f"{tmp_path}/notebook")
        code = code.replace(
            "max_seq_len=384, stride_len=128", f'max_seq_len=128, stride_len=16, cache_dir="{tmp_path}"'
        )
        code = code.replace('"--tokenizer"', '"--max_seq_len", "128", "--stride_len", "16", "--tokenizer"')
        if "Pipeline.load(" in code:
            monkeypatch.chdir(tmp_path)  # an index is kept
        exec(compile(code, f"{NOTEBOOK.name}, cell {number}", "exec"), names)
        outputs.append(capsys.readouterr().out)
        assert number or (Path.cwd() == ROOT and str(ROOT) in sys.path)
    _, looked_at, example, trained, found, answered = outputs
    assert "**Flags that suit these data**\n\n--max_seq_len 128 " in looked_at
    assert re.fullmatch(r"\S.*\? \['.*'\] \d+ tokens\n", example)
    assert "'eval_exact_match': " in trained and "'eval_to_look_at': " in trained
    assert load_reader(f"{tmp_path}/notebook/best", trained=True).config.reader_head["name"] == "linear"
    assert re.fullmatch(r"(\d+\.\d\d \S.*\n){3}", found)
    assert re.fullmatch(r"(\S.*\? \S.* \([01]\.\d\d, \S.*\)\n){4}", answered)
    assert "훈민정음은 언제 만들어졌는가? 1443년 (" in answered


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert (notebook["nbformat"], len({cell["id"] for cell in notebook["cells"]})) == (4, len(notebook["cells"]))
    links = re.findall(r"\]\(([^)]+)\)", NOTEBOOK.read_text("utf-8"))
    assert links and all((NOTEBOOK.parent / link).is_file() for link in links)
