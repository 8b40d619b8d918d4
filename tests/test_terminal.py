"""What a terminal of 80 columns shows of the commands, and what a file gets of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from forking import start
from screen import in_terminal

LINE = re.compile(r"\d\d:\d\d:\d\d (INFO|WARNING) \S")
BAR = re.compile(r"(\w[\w ]*): +\d+%\|[█▏▎▍▌▋▊▉ ]{5,}\| \d+/\d+ \[.*")


@pytest.mark.parametrize("command", ["train_mrc.py", "train_mrc_v2.py --do_train"])
def test_training_shows_one_bar_and_whole_lines(command: str, training_command: list[str]) -> None:
    words = [*command.split(), *training_command, "--do_eval", "--eval_steps", "3"]
    bars: set[str] = set()

    def watch(lines: list[str]) -> None:
        bars.update(line for line in lines if "%|" in line)

    status, lines = in_terminal(words, watch=watch)
    assert status == 0
    assert [line for line in lines if "%|" in line and not BAR.fullmatch(line)] == []
    assert {BAR.fullmatch(line)[1] for line in bars if BAR.fullmatch(line)} >= {"training"}
    assert max(map(len, bars)) <= 80
    assert all(
        any(name in line for line in bars if line.startswith("training")) for name in (" loss ", " lr ", " epoch ")
    )
    wrapped = "\n".join(lines)  # a line of the log may be longer than the terminal is wide
    steps = [int(step) for step in re.findall(r"^\d\d:\d\d:\d\d INFO step (\d+): eval loss \d", wrapped, re.MULTILINE)]
    assert steps == [3, 6, 9, 12]
    assert "{'" not in wrapped and len([line for line in lines if line.startswith("training")]) == 1


def test_a_file_gets_lines_and_nothing_else(training_command: list[str], tmp_path: Path) -> None:
    words = ["train_mrc_v2.py", "--do_train", *training_command, "--do_eval", "--eval_steps", "6"]
    process = start(*words, stdout=tmp_path / "log", stderr=tmp_path / "log")
    process.join()
    assert process.exitcode == 0
    lines = (tmp_path / "log").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert [line for line in lines if not (LINE.match(line) and line.isprintable())] == []
    assert len(lines) < 12


def test_answering_shows_one_bar_over_another(reader_path: str, dataset_path: str, tmp_path: Path) -> None:
    words = ["inference.py", "--do_predict", "--model", reader_path, "--dataset_path", dataset_path]
    words += ["--max_seq_len", "128", "--stride_len", "16", "--analyzer", "bigram", "--top_k_retrieval", "3"]
    words += ["--output_dir", str(tmp_path / "out"), "--index_dir", str(tmp_path / "index")]
    status, lines = in_terminal(words, columns=70)
    assert status == 0
    assert [line for line in lines if "%|" in line and not BAR.fullmatch(line)] == []
    assert [line.split(":")[0] for line in lines if "%|" in line] == ["answering"]
