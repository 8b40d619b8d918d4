"""What is documented runs: every command in README, docs, scripts and docstrings is read by its own real parser."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(ROOT.glob("script/*.sh"))
PAGES = sorted(path for pattern in ("*.md", "docs/*.md", "docs/ko/*.md") for path in ROOT.glob(pattern))
PROGRAMS = sorted(path for folder in (".", "script", "benchmarks", "tools") for path in ROOT.glob(f"{folder}/*.py"))

_FENCE = re.compile(r"^```(\w*)[ ]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELLS = ("", "bash", "sh", "shell", "console")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(\w+)=(\"[^\"]*\"|[^\s(]*)\s*(?:#.*)?$", re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")
_LIST_VARIABLE = re.compile(r'"\$\{\w+\[@\]\}"')


class Command(NamedTuple):
    """``python FILE WORDS`` as it is documented."""

    file: str
    words: list[str]


def commands_of(shell: str, passed: Sequence[str] = ()) -> Iterator[Command]:
    """Yield the Python commands of shell text; ``passed`` are the words for its ``"$@"``.

    A call of one of our scripts with words of its own yields the commands in it with these words passed on.
    """
    shell = shell.replace("\\\n", " ").replace('"$@"', shlex.join(passed))
    shell = re.sub(r"python -m (benchmarks|tools)\.(\w+)", r"python \1/\2.py", shell)
    values = {name: value.strip('"') for name, value in _ASSIGNMENT.findall(shell)}
    shell = _LIST_VARIABLE.sub("", shell)
    # A variable that the text does not set, such as that of a loop, stands for some number.
    shell = _VARIABLE.sub(lambda match: values.get(match[1] or match[2]) or match[3] or "1", shell)
    for line in shell.splitlines():
        for words in simple_commands(line):
            if (file := file_of(words)) and file.endswith(".py"):
                yield Command(file, words[words.index(file) + 1 :])
            elif file and words[words.index(file) + 1 :]:
                script = (ROOT / file).read_text(encoding="utf-8")
                yield from commands_of(script, words[words.index(file) + 1 :])


def simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line, without what follows ``|``, ``;``, ``&&``, ``>`` or ``#``."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set(";&|()<>"):
                yield words
                words = []
            else:
                words.append(word)
    except ValueError:  # a quotation that goes on in the next line: no command of ours
        return
    yield words


def file_of(words: Sequence[str]) -> str | None:
    """Return the program that the words start: after python, after accelerate launch and its flags, or after bash."""
    for before, word in pairwise(words):
        if before in ("python", "python3") and word.endswith(".py"):
            return word
        if before == "bash" and re.fullmatch(r"script/\w+\.sh", word):
            return word
        if before == "launch":
            return next((word for word in words if word.endswith(".py")), None)
    return None


def parse(command: Command) -> None:
    """Read the words with the command's own parser; ``SystemExit`` when it refuses them."""
    assert (ROOT / command.file).is_file(), f"{command.file} is documented but does not exist"
    module = importlib.import_module(command.file.removesuffix(".py").replace("/", "."))
    reader = getattr(module, "parse", None) or module.parse_arguments
    try:
        reader(command.words)
    except SystemExit as end:
        if end.code:  # --help ends with 0
            raise


def style_faults(shell: str) -> list[str]:
    """Return the lines that do not do what they seem to when they are pasted into a shell."""
    faults = []
    goes_on = False
    for line in shell.splitlines():
        if re.search(r"\\\s+$", line):
            faults.append(f"blanks after the backslash: {line}")
        if re.search(r"\\\s+#", line):
            faults.append(f"comment after the backslash: {line}")
        if re.match(r"\s*--?\w", line) and not goes_on:
            faults.append(f"no backslash before this line: {line}")
        goes_on = line.endswith("\\")
    return faults


def shell_texts() -> Iterator[tuple[str, str]]:
    """Yield (where, shell text) of all that is documented."""
    for path in SCRIPTS:
        yield path.name, path.read_text(encoding="utf-8")
    for path in PAGES:
        blocks = [block for language, block in _FENCE.findall(path.read_text(encoding="utf-8")) if language in _SHELLS]
        for number, block in enumerate(blocks, start=1):
            yield f"{path.relative_to(ROOT)}, block {number}", block
    for path in PROGRAMS:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        indented = [line.strip() for line in docstring.splitlines() if line.startswith("    ")]
        yield f"{path.name}, docstring", "\n".join(line for line in indented if line.startswith("python "))


TEXTS = list(shell_texts())
DOCUMENTED = [
    pytest.param(command, id=f"{where}: {command.file}") for where, text in TEXTS for command in commands_of(text)
]


@pytest.mark.parametrize("command", DOCUMENTED)
def test_documented_command_is_understood(command, capsys):
    try:
        parse(command)
    except SystemExit:
        pytest.fail(f"python {command.file} {shlex.join(command.words)}\n{capsys.readouterr().err}")


@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in TEXTS if "docstring" not in where])
def test_lines_can_be_pasted(text):
    assert style_faults(text) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_the_script(path):
    result = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_commands_are_found_where_they_must_be():
    found = {
        name: [c.file for where, t in TEXTS if where.startswith(name) for c in commands_of(t)]
        for name in (
            "quickstart.sh",
            "train_mrc_example.sh",
            "two_stage_example.sh",
            "inference_example.sh",
            "retrieve_example.sh",
            "train_dpr_example.sh",
            "README.md",
        )
    }
    assert found["quickstart.sh"] == [
        "script/build_offline_encoder.py",
        "train_mrc.py",
        "inference.py",
        "script/quickstart_table.py",
    ]
    assert found["train_mrc_example.sh"] == ["train_mrc.py"]
    assert found["two_stage_example.sh"] == ["train_mrc.py", "train_mrc.py"]
    assert found["inference_example.sh"] == ["inference.py"]
    assert found["retrieve_example.sh"] == ["script/build_offline_encoder.py", "retrieve.py"]
    expected = ["script/build_offline_encoder.py", "train_dpr.py", "retrieve.py", "inference.py"]
    assert found["train_dpr_example.sh"] == expected
    assert {path.name for path in ROOT.glob("train_*.py")} < set(found["README.md"])


# ------------------------------------------------------------------------------------------- the finder and the reader


def test_continued_lines_variables_and_prefixes_are_read():
    shell = """\
data="data/mini wiki"
CUDA_VISIBLE_DEVICES=0 run python train_mrc.py \\
  --dataset_path "$data" \\
  --output_dir ${OUT:-saved/x} >log.txt 2>&1  # written to a file
cd .. && python3 score.py --gold a --predictions b.json | tee scores
for seed in 1 2; do accelerate launch --num_processes 2 train_mrc.py --seed $seed; done
python -m pytest tests/test_score.py
python -m benchmarks.heads saved/x --last 3
# python commented.py --out
$ python script/quickstart_table.py metrics.json "${timings[@]}"
"""
    assert list(commands_of(shell)) == [
        Command("train_mrc.py", ["--dataset_path", "data/mini wiki", "--output_dir", "saved/x"]),
        Command("score.py", ["--gold", "a", "--predictions", "b.json"]),
        Command("train_mrc.py", ["--seed", "1"]),
        Command("benchmarks/heads.py", ["saved/x", "--last", "3"]),
        Command("script/quickstart_table.py", ["metrics.json"]),
    ]


def test_flags_given_to_a_script_reach_the_command_in_it():
    (command,) = commands_of("bash script/train_mrc_example.sh --model saved/x --seed 7")
    assert command.file == "train_mrc.py"
    assert command.words[-4:] == ["--model", "saved/x", "--seed", "7"]


@pytest.mark.parametrize(
    ("shell", "complaint"),
    [
        ("python train_mrc.py --modle klue/bert-base", "--modle is not a flag of train_mrc.py; did you mean --model?"),
        (
            "python inference.py --do_predict -- top_k_retrieval 5",
            "-- top_k_retrieval: write --top_k_retrieval, without the blank",
        ),
        ("bash script/train_mrc_example.sh --learning_rat 1", "--learning_rat is not a flag of train_mrc.py"),
        ("python script/build_offline_encoder.py --output x", "--out"),
    ],
)
def test_a_wrong_command_is_caught(shell, complaint, capsys):
    (command,) = commands_of(shell)
    with pytest.raises(SystemExit):
        parse(command)
    assert complaint in capsys.readouterr().err


def test_the_second_stage_begins_with_the_reader_of_the_first():
    script = (ROOT / "script/two_stage_example.sh").read_text(encoding="utf-8")
    first, second = (
        dict(pairwise(command.words))
        for command in commands_of(script, ["--seed", "7"])
        if command.file == "train_mrc.py"
    )
    assert second["--model"] == f"{first['--output_dir']}/best"
    assert second["--output_dir"] != first["--output_dir"]
    assert first["--seed"] == second["--seed"] == "7"


def test_a_command_that_does_not_exist_is_caught():
    (command,) = commands_of("python train_everything.py")
    with pytest.raises(AssertionError, match=r"train_everything\.py is documented but does not exist"):
        parse(command)


def test_lines_that_do_not_paste_are_caught():
    shell = "python a.py \\ \n  --x 1 \\  # why\n  --y 2\n  --z 3\n"
    assert style_faults(shell) == [
        "blanks after the backslash: python a.py \\ ",
        "comment after the backslash:   --x 1 \\  # why",
        "no backslash before this line:   --x 1 \\  # why",
        "no backslash before this line:   --y 2",
        "no backslash before this line:   --z 3",
    ]
