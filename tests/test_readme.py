"""The READMEs tell the truth: their Python runs, their flags exist, and both tell the same."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

import inference
import score
import train_mrc
import train_mrc_v2
from models import average
from models.heads import HEADS
from mrc.augmentation import AUGMENTATIONS

ROOT = Path(train_mrc.__file__).parent
READMES = ["README.md", "README.ko.md"]


@pytest.mark.parametrize("name", READMES)
def test_the_python_example_runs(
    name: str,
    encoder_path: str,
    dataset_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    code = code.replace("saved/e5-small-ko", encoder_path).replace("data/mini_wiki", dataset_path)
    code = code.replace("max_seq_len=384, stride_len=128", "max_seq_len=128, stride_len=16")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {})
    assert re.match(r"\d+\.\d+ \{'exact_match': ", capsys.readouterr().out)


@pytest.mark.parametrize("name", READMES)
@pytest.mark.parametrize(
    ("command", "groups", "unused"),
    [
        ("train_mrc.py", train_mrc.Arguments, {}),
        ("inference.py", inference.Arguments, inference.UNUSED),
    ],
)
def test_the_table_of_flags_is_complete(name: str, command: str, groups: type, unused: dict[str, str]) -> None:
    section = (ROOT / name).read_text(encoding="utf-8").split(f"### {command}")[1].split("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|") and "`--" in line and " --" in line]
    listed = [flag for row in rows for flag in re.findall(r"--(\w+)", row)]
    expected = [
        field.name for group in get_type_hints(groups).values() for field in fields(group) if field.name not in unused
    ]
    assert listed == expected


def test_the_documented_commands_are_understood() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    parsers = {f"{command.__name__}.py": command.parse for command in (train_mrc, train_mrc_v2, inference, score)}
    parsers["-m models.average"] = average.parse_arguments
    for name, parse in parsers.items():
        commands = re.findall(rf"^python {re.escape(name)} (.*)$", text, flags=re.MULTILINE)
        assert commands, name
        for words in commands:
            parse(shlex.split(words))


@pytest.mark.parametrize("name", READMES)
def test_the_tables_of_heads_and_augmentations_are_complete(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for flag, names in (("head", HEADS), ("augment", AUGMENTATIONS)):
        table = text.split(f"| `--{flag}` |")[1].split("\n\n")[0]
        first_cells = [line.split("|")[1] for line in table.splitlines()[2:]]
        assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(names)


def test_both_languages_have_the_same_commands_and_sections() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in READMES]
    for pattern in (r"```bash\n(.*?)```", r"^(#+) ", r"^\|(?=[^-])"):
        found = [re.findall(pattern, text, flags=re.DOTALL | re.MULTILINE) for text in texts]
        assert len(found[0]) == len(found[1]) > 0, pattern
    commands = [
        [
            line.split("    #")[0]
            for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
            for line in block.splitlines()
        ]
        for text in texts
    ]
    assert commands[0] == commands[1]
    assert READMES[1] in texts[0].splitlines()[2] and READMES[0] in texts[1].splitlines()[2]
