"""Command lines from dataclasses: values and refusals."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal

import pytest
from made_up_commands import Command, Needy, Shape, parse

from runtime.command_line import FlagError, check_command_line, parse_arguments, read_arguments
from runtime.errors import UserError
from runtime.flags import COMMANDS, command, fields_by_name, flag, flag_group, only_if, record_of
from runtime.help_page import signature

# -------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--seed 3 --my_rate 1e-5", {"seed": 3, "rate": 1e-5}),
        ("--my-rate=1", {"rate": 1.0}),
        ("--fast --mode quick", {"fast": True, "mode": "quick"}),
        ("--fast True --mode quick", {"fast": True, "mode": "quick"}),
        ("--fast on --mode quick", {"fast": True, "mode": "quick"}),
        ("--fast false", {"fast": False}),
        ("--safe no", {"safe": False}),
        ("--no_safe", {"safe": False}),
        ("--no-safe", {"safe": False}),
        ("--sure", {"sure": True}),
        ("--sure 0", {"sure": False}),
        ("--dir there", {"folder": "there"}),
        ("--shift -1.5", {"shift": -1.5}),
        ("--shift -1e-3", {"shift": -1e-3}),
        ("--shift -.5", {"shift": -0.5}),
        ("--numbers 3 -4 5", {"numbers": [3, -4, 5]}),
        ("--color blue", {"color": "blue"}),
        ("--seed 3 --", {"seed": 3}),
        ("-- --seed 3 -- --shift 2", {"seed": 3, "shift": 2.0}),
        ("--seed 1 --seed 2", {"seed": 2}),
        ("--kind Ball --radius 2", {"kind": "Ball", "radius": 2.0}),
    ],
)
def test_flags_are_read(words: str, expected: dict[str, Any]) -> None:
    assert parse(words) == dataclasses.asdict(Command()) | expected


def test_words_come_from_the_command_line_when_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["command.py", "--seed", "7"])
    assert parse_arguments(Command).seed == 7


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--sead 1", "--sead is not a flag of command.py; did you mean --seed?"),
        ("--my_rat=3", "--my_rat is not a flag of command.py; did you mean --my_rate?"),
        ("--dyr a", "--dyr is not a flag of command.py; did you mean --dir?"),
        ("--xyzzy a", "--xyzzy is not a flag of command.py"),
        ("--foo -1", "--foo is not a flag of command.py"),
        ("-x", "-x is not a flag of command.py"),
        ("--see 1", "--see is not a flag of command.py; did you mean --seed?"),
        ("--pages 3", "--pages has no effect in command.py; it is a flag of other.py"),
        ("--source 3", "--source has no effect in command.py; it is a flag of needy.py"),
        ("--rate 3", "--rate is not a flag of command.py: use --my_rate"),
        ("--speed 3", "--speed is not a flag of command.py: use --my_rate"),
        ("--slowly", "--slowly is not a flag of command.py: it is always fast"),
        ("--seed", "argument --seed: expected one argument"),
        ("--seed many", "argument --seed: invalid int value: 'many'"),
        ("--fast maybe", "argument --fast: 'maybe' is neither true nor false"),
        ("--color green", "argument --color: invalid choice: 'green' (choose from 'red', 'blue')"),
        ("--mode fast", "argument --mode: invalid choice: 'fast' (choose from 'slow', 'quick')"),
        ("seed 1", "do not know what to do with seed 1: every value needs its flag"),
        ("--seed 1 2", "do not know what to do with 2: every value needs its flag"),
        ("-- seed 7", "-- seed: write --seed, without the blank"),
        ("--seed 1 -- SECRET", "what follows -- is no flag"),
        ("--seed 1 hub_token SECRET", "do not know what to do with hub_token ***: every value needs its flag"),
        ("--seed 1 https://me:SECRET@host", "do not know what to do with https://***@host: every value needs its flag"),
        ("--hub_tokn=SECRET", "--hub_tokn is not a flag of command.py; did you mean --hub_token?"),
        ("--name a", "--name would be ignored: add --fast"),
        ("--fast --mode quick --name 1", "--name '1' must be letters"),
        ("--fast", "--fast contradicts --mode slow"),
        ("--radius 2", "--radius would be ignored: only --kind Ball reads it"),
        ("--width 2 --kind Point", "--width would be ignored: only --kind Box, Ball read it"),
        ("--width 2 --kind Ball --open", "--width would be ignored: an open ball has no width"),
        ("--depth 2", "--depth would be ignored: only an open box has a depth"),
        ("--folder https://me:SECRET@host", "--folder must not hold credentials: flags are logged and saved"),
        ("--folder http://host/a?x=1&api_key=SECRET", "--folder must not hold credentials: flags are logged and saved"),
        ("--seed https://me:SECRET@host", "argument --seed: invalid int value: 'https://***@host'"),
        ("--color http://host?token=SECRET", "argument --color: invalid choice: 'http://host?token=***' (choose from "
                                             "'red', 'blue')"),
        ("--color \x1b[2Jred\x07", "argument --color: invalid choice: '\\x1b[2Jred\\x07' (choose from 'red', 'blue')"),
        (f"--seed {10**400}", "--seed (a number of 401 digits) must be at least 0 and at most 9"),
        ("--config nowhere.yaml", "--config nowhere.yaml cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flag_is_said_in_one_line(words: str, complaint: str, refusal: Any) -> None:
    found = refusal(words)
    found = [line.replace("(choose from red, blue)", "(choose from 'red', 'blue')") for line in found]
    found = [line.replace("(choose from slow, quick)", "(choose from 'slow', 'quick')") for line in found]
    assert found == [complaint]
    assert "SECRET" not in found[0]


def test_what_may_be_right_is_not_refused() -> None:
    assert parse("--width 2 --open --depth 1")["depth"] == 1
    assert parse("--width 2 --kind Ball")["width"] == 2
    parse("--name a --fast --mode quick")
    parse("--folder me@host")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--seed -1", "--seed -1 must be at least 0 and at most 9"),
        ("--seed 10", "--seed 10 must be at least 0 and at most 9"),
        ("--my_rate 0", "--my_rate 0 must be above 0 and at most 1"),
        ("--my_rate 1.001", "--my_rate 1.001 must be above 0 and at most 1"),
        ("--my_rate nan", "--my_rate nan must be a finite number of 32 bits"),
        ("--share -0.1", "--share -0.1 must be at least 0"),
        ("--shift inf", "--shift inf must be a finite number of 32 bits"),
        ("--shift 1e39", "--shift 1e+39 must be a finite number of 32 bits"),
        ("--width 1000000000000000000", "--width 1e+18 must be at most 2147483647"),
        ("--numbers 1 1000000000000000000", "--numbers 1e+18 must be at most 2147483647"),
    ],
)
def test_numbers_have_ranges(words: str, complaint: str, refusal: Any) -> None:
    assert refusal(words) == [complaint]


def test_everything_that_is_wrong_is_said_at_once(refusal: Any) -> None:
    assert refusal("--sead a --slowly --name 1 --my_rate 2 --seed 11 --radius -1") == [
        "--sead is not a flag of command.py; did you mean --seed?",
        "--slowly is not a flag of command.py: it is always fast",
        "--name would be ignored: add --fast",
        "--radius would be ignored: only --kind Ball reads it",
        "--seed 11 must be at least 0 and at most 9",
        "--my_rate 2 must be above 0 and at most 1",
        "--name '1' must be letters",
        "--radius -1 must be above 0",
    ]


def test_required_flags_are_named_with_what_else_is_wrong(refusal: Any) -> None:
    assert refusal("", Needy) == ["the following arguments are required: --source, --target"]
    assert refusal("--sead 1 --source a", Needy) == [
        "--sead is not a flag of needy.py; did you mean --seed?",
        "the following arguments are required: --target",
    ]
    assert parse("--source a --target b", Needy)["target"] == "b"


def test_arguments_that_are_read_several_times() -> None:
    """A flag is right where one of the readings reads it; where none does, the reasons of all are given."""

    @command("several.py", "Read several shapes.")
    class Several(Shape):
        def readings(self) -> list[Any]:
            return [dataclasses.replace(self, kind=kind) for kind in self.kind.split("+")]

    assert read_arguments(Several, ["--kind", "Point+Ball", "--radius", "2", "--width", "3"]).radius == 2.0
    with pytest.raises(FlagError) as caught:
        read_arguments(Several, ["--kind", "Point+Ball", "--open", "--width", "3", "--depth", "2"])
    assert caught.value.complaints == [
        "--width would be ignored: only --kind Box, Ball read it",
        "--width would be ignored: an open ball has no width",
        "--depth would be ignored: only --kind Box reads it",
    ]
    COMMANDS.pop("several.py")


def test_secrets_are_neither_recorded_nor_left_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--hub_token", "S3CRET", "--hub-token", "S3CRET", "--hub_token=S3CRET", "--folder", "a"]
    monkeypatch.setattr("sys.argv", ["command.py", *words])
    args = parse_arguments(Command)
    assert args.hub_token == "S3CRET"
    assert (record_of(args)["hub_token"], record_of(args)["folder"]) == (None, "a")
    import sys

    assert sys.argv == [
        "command.py", "--hub_token", "***", "--hub-token", "***", "--hub_token=***", "--folder", "a"
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------- files, folders and texts


@flag_group("run")
class Places:
    out: str = flag("out", "Folder.", writes="folder")
    kept: str = flag("kept", "Folder.", writes="store")
    log: str | None = flag(None, "File.", writes="file")
    unread: str = flag("file/x", "Folder.", writes="folder", read_if=only_if(lambda args: args.log, "add --log"))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    monkeypatch.setattr("runtime.flags.COMMANDS", dict(COMMANDS))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    return command("places.py", "Write.")(type("PlacesArguments", (Places,), {"__doc__": "Places."}))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("--out file", "--out file is not a folder; name another one"),
        ("--kept file/a", "--kept file/a cannot be written: file is not a folder; name another one"),
        ("--log . --unread new", "--log . is a folder: name a file"),
        ("--log new", "--unread file/x cannot be written: file is not a folder; name another one"),
        (
            "--out file --log . --unread new",
            "--out file is not a folder; name another one; --log . is a folder: name a file",
        ),
    ],
)
def test_places_that_cannot_be_written_are_refused_by_the_command_line(
    places: type, words: str, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(fault)}$"):
        parse_arguments(places, words.split())
    monkeypatch.setattr("sys.argv", ["places.py", *words.split()])
    with pytest.raises(SystemExit) as end:
        check_command_line(places)
    assert (end.value.code, capsys.readouterr().err.count("error: --")) == (2, 1 + fault.count("; --"))


def test_places_that_can_be_written_are_left_as_they_are(places: type, tmp_path: Path) -> None:
    parse_arguments(places, ["--out", "a/b", "--log", "c/d", "--unread", "e"])
    parse_arguments(places, [])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_store_that_is_filled_may_be_read_only(places: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.command_line.fault_of_folder", lambda path: "is read-only" if path == "kept" else None)
    (tmp_path / "kept").mkdir()
    with pytest.raises(UserError, match=r"^--kept kept is read-only$"):
        parse_arguments(places, [])
    (tmp_path / "kept" / "index").touch()
    parse_arguments(places, [])


@pytest.mark.parametrize(
    ("text", "fault"), [("a\udcff", "is not UTF-8: type it again, or rename what it names"), ("a\0b", "holds a null")]
)
def test_texts_that_are_none_are_refused(places: type, text: str, fault: str) -> None:
    with pytest.raises(FlagError, match=f"^--out {re.escape(ascii(text))} {fault}"):
        read_arguments(places, ["--out", text])


@flag_group("sizes")
class Sizes:
    size: int | Literal["auto"] = flag(16, "How many.", at_least=1)


def test_a_number_or_a_word() -> None:
    assert [read_arguments(Sizes, ["--size", word], who="sizes").size for word in ("auto", "8")] == ["auto", 8]
    for word, fault in (("many", "'many' is neither a whole number nor auto"), ("0", "--size 0 must be at least 1")):
        with pytest.raises(FlagError, match=fault):
            read_arguments(Sizes, ["--size", word], who="sizes")
    assert signature(fields_by_name(Sizes)["size"], int | Literal["auto"]) == "--size {N,auto}"
