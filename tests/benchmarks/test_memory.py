"""Peak memory: that of the command alone, on corpora of the size asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import memory
from loading.corpus import load_corpus

ROOT = Path(__file__).parents[2]


def test_the_peak_is_what_the_command_had_in_memory() -> None:
    code = "from benchmarks.memory import peak; print(peak('-c', 'pass'), peak('-c', 'x = b\"x\" * 2**28; del x'))"
    # in a small process: one starts with the peak of its parent, here of all tests
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    nothing, quarter = map(float, result.stdout.split())
    assert nothing < 0.1 and 0.24 <= quarter - nothing <= 0.27


def test_a_command_that_fails_ends_it_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match="there is no corpus"):
        memory.peak("-c", "raise SystemExit('there is no corpus')")


def test_corpora_are_sentences_of_the_source_and_the_same_every_time(dataset_path: str, tmp_path: Path) -> None:
    source = f"{dataset_path}/wikipedia_documents.json"
    paths = {size: tmp_path / f"{size}.jsonl" for size in (5, 30)}
    memory.write_corpora(source, paths)
    contents = {size: path.read_bytes() for size, path in paths.items()}
    memory.write_corpora(source, paths)
    assert contents == {size: path.read_bytes() for size, path in paths.items()}
    whole = " ".join(load_corpus(source).texts)
    for size, content in contents.items():
        assert len(content.splitlines()) == size
        texts = load_corpus(paths[size]).texts
        assert all(sentence in whole for text in texts for sentence in text.split(". "))


def test_a_column_for_each_size_and_a_cell_for_each_pair(
    dataset_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(memory, "peak", lambda *words: commands.append(list(map(str, words))) or f"{len(commands)}.00")
    command = ["--corpus", f"{dataset_path}/wikipedia_documents.json", "--questions", dataset_path, "--model", "reader"]
    memory.main([*command, "--sizes", "30", "5", "--limits", "2", "3", "--ks", "10", "100"])
    tables = capsys.readouterr().out.split("\n\n")
    assert tables[1].splitlines()[0] == "| GiB, passages | 5 | 30 |"
    assert tables[1].splitlines()[3:] == [
        "| load the corpus | 1.00 | 4.00 |",
        "| retrieve.py, index built | 2.00 | 5.00 |",
        "| retrieve.py, index there | 3.00 | 6.00 |",
    ]
    assert tables[2].splitlines()[2:] == ["| 2 questions | 7.00 | 8.00 |", "| 3 questions | 9.00 | 10.00 |"]
    assert commands[1] == commands[2] and "30.jsonl" in " ".join(commands[4])
    assert [words[words.index("--top_k_retrieval") + 1] for words in commands[6:]] == ["10", "100"] * 2
