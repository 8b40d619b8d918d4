"""What --help prints: the groups first, one in full when it is named."""

from __future__ import annotations

from typing import Any

import pytest
from made_up_commands import Command, parse


def shown(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", ["--help", "-h", "--sead 1 --help"])
def test_help_first_shows_the_groups(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(words, capsys)
    assert text.startswith("usage: python command.py [--flag VALUE ...]\n\nDo something.\n\n")
    flat = " ".join(text.split())
    assert "run --folder --seed --my_rate --share" in flat and "shape --kind --open" in flat
    assert "box --width --depth" in flat and "ball --radius" in flat
    assert "--help GROUP explains" in flat and "--config FILE" in flat
    assert len(text.splitlines()) < 24


def test_help_of_a_group_explains_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("--help run", capsys)
    assert "  --folder, --dir FOLDER\n      Where results go. (default: ./out)\n" in text
    assert "  --my_rate MY_RATE\n      Rate. (default: 0.25)\n" in text
    assert "  --fast [true|false]\n" in text and "  --mode {slow,quick}\n" in text and "  --color {red,blue}\n" in text
    assert "  --numbers NUMBERS [NUMBERS ...]\n      Some. (default: 1 2)\n" in text
    assert "(default: None)" not in text and "--kind" not in text


def test_help_of_all_explains_every_flag_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("--help all", capsys)
    for name in Command.__dataclass_fields__:
        spelled = "my_rate" if name == "rate" else name
        if name != "not_flags":
            assert text.count(f"  --{spelled} ") + text.count(f"  --{spelled}, ") == 1, name


def test_a_group_that_is_not_there_names_those_that_are(refusal: Any) -> None:
    assert refusal("--help runs") == ["--help runs is not a group of flags; choose from: run, shape, box, ball, all"]
