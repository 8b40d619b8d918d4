"""Command lines from dataclasses: values, refusals, files of flags and help, of groups that stand for any."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from runtime.command_line import FlagError, parse_arguments, read_arguments
from runtime.flags import (
    COMMANDS,
    changed,
    command,
    fields_by_name,
    flag,
    flag_group,
    flag_of,
    only_if,
    part_of,
    read_only_if,
    record_of,
    with_parameters,
)


@flag_group("run")
class Run:
    """The run."""

    folder: str = flag("./out", "Where results go.", aliases=["dir"])
    seed: int = flag(4, "Seed.", at_least=0, at_most=9)
    rate: float = flag(0.5, "Rate.", above=0, at_most=1)
    share: float | None = flag(None, "Share.", at_least=0)
    shift: float = flag(0.0, "Any number.")
    fast: bool = flag(False, "Be fast.")
    safe: bool = flag(True, "Be safe.")
    sure: bool | None = flag(None, "Be sure (default: as it comes).")
    mode: Literal["slow", "quick"] = flag("slow", "How.")
    color: str = flag("red", "Which.", choices=["red", "blue"])
    numbers: list[int] = flag([1, 2], "Some.")
    name: str | None = flag(
        None, "Name.", fault=lambda name: None if name.isalpha() else "must be letters", read_if=only_if(
            lambda args: args.fast, "add --fast"
        ),
    )  # fmt: skip
    hub_token: str | None = flag(None, "Secret.")

    def contradictions(self):
        if self.fast and self.mode == "slow":
            yield "--fast contradicts --mode slow"


@flag_group("box")
class Box:
    """A box."""

    width: int = flag(3, "Width.", at_least=1)
    depth: int | None = flag(
        None, "Depth.", read_if=only_if(lambda args: args.kind == "Box" and args.open, "only an open box has a depth")
    )


@flag_group("ball")
class Ball:
    """A ball."""

    radius: float = flag(1.0, "Radius.", above=0)
    width: int = flag(3, "Width.", at_least=1, read_if=only_if(lambda args: not args.open, "an open ball has no width"))


@with_parameters({"Box": Box, "Ball": Ball, "Point": None}, "kind", lambda args: [args.kind])
@flag_group("shape")
class Shape:
    """A shape."""

    kind: str = flag("Box", "Which shape.", has_own_flags=True)
    open: bool = flag(False, "Without a lid.")


@command("command.py", "Do something.")
class Command(Run, Shape):
    """What the command reads."""

    not_flags: ClassVar[dict[str, str]] = {"slowly": "it is always fast"}

    rate: float = changed(Run, "rate", 0.25, spelling="my_rate", instead_of=["speed"])


@command("other.py", "Do something else.")
class Other:
    """What another command reads."""

    pages: int = flag(1, "Pages.")
    rate: float = flag(1.0, "Rate.")


@command("needy.py", "Need something.")
class Needy:
    """What must be given."""

    source: str = flag(help="From.")
    target: str = flag(help="To.")
    seed: int = flag(1, "Seed.")


# they are known elsewhere by name only while the tests here run
_MINE = {file: COMMANDS.pop(file) for file in ("command.py", "other.py", "needy.py")}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for file, arguments in _MINE.items():
        monkeypatch.setitem(COMMANDS, file, arguments)


def parse(words: str | list[str], arguments_class: type = Command) -> dict[str, Any]:
    return dataclasses.asdict(parse_arguments(arguments_class, words.split() if isinstance(words, str) else words))


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]):
    """Return the complaints about a command line that is refused."""

    def refuse(words: str | list[str], arguments_class: type = Command) -> list[str]:
        with pytest.raises(SystemExit) as end:
            parse(words, arguments_class)
        assert end.value.code == 2
        shown = capsys.readouterr()
        *complaints, hint = shown.err.splitlines()
        file = arguments_class.command
        assert (shown.out, hint) == ("", f"see python {file} --help")
        assert complaints and all(complaint.startswith(f"{file}: error: ") for complaint in complaints)
        return [complaint.removeprefix(f"{file}: error: ") for complaint in complaints]

    return refuse


# -------------------------------------------------------------------------------------------------------------- values


def test_without_flags_every_value_is_its_default() -> None:
    assert parse("") == dataclasses.asdict(Command())
    assert (Command().rate, Run().rate, Command().numbers) == (0.25, 0.5, [1, 2])
    assert Command().numbers is not Command().numbers


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


def test_constructors_understand_older_names() -> None:
    assert Run(dir="there") == Run("there")
    with pytest.raises(TypeError, match="takes only one of dir and folder"):
        Command(dir="a", folder="b")
    with pytest.raises(TypeError, match="unexpected keyword argument 'where'"):
        Command(where="a")
    assert dataclasses.replace(Command(dir="a"), seed=1).folder == "a"


def test_settling_happens_in_every_class_that_has_it() -> None:
    @flag_group("a")
    class A:
        x: int = flag(0, "X.")

        def settle(self) -> None:
            self.x += 1

    @flag_group("b")
    class B(A):
        y: int = flag(0, "Y.")

        def settle(self) -> None:
            self.y += 10

    assert (B().x, B().y) == (1, 10)


def test_a_part_of_the_arguments() -> None:
    assert part_of(parse_arguments(Command, ["--seed", "5"]), Run) == Run(seed=5, rate=0.25)
    assert part_of(Other(rate=0.75), Run, seed=2) == Run(rate=0.75, seed=2)


def test_what_a_group_is_read_only_if() -> None:
    narrow = read_only_if(Box, only_if(lambda args: args.width, "never"))
    assert issubclass(narrow, Box) and narrow() == narrow(width=3)
    assert [test.reasons() for test in flag_of(fields_by_name(narrow)["depth"]).read_if] == [
        ["never"], ["only an open box has a depth"]
    ]  # fmt: skip


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
        ("--config nowhere.yaml", "--config nowhere.yaml cannot be read: [Errno 2] No such file or directory: "
                                  "'nowhere.yaml'"),
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


# --------------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def config(tmp_path: Path):
    """Write a file of flags and return the words that name it."""

    def write(text: str, name: str = "run.yaml") -> list[str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return ["--config", str(tmp_path / name)]

    return write


def test_what_is_written_in_yaml_is_what_a_flag_gets(config: Any) -> None:
    text = """\
folder: 010
my_rate: 2e-1  # YAML takes this for text
seed: 07
shift: -2.5
sure: yes
safe: off
color: "blue"
numbers: [3, -4]
hub_token: 1:30
share:
"""
    values = parse(config(text))
    assert {name: values[name] for name in ("folder", "rate", "seed", "shift", "sure", "safe", "color")} == {
        "folder": "010", "rate": 0.2, "seed": 7, "shift": -2.5, "sure": True, "safe": False, "color": "blue",
    }  # fmt: skip
    assert (values["numbers"], values["hub_token"], values["share"]) == ([3, -4], "1:30", None)
    assert parse(config("folder: yes\n"))["folder"] == "yes"
    assert parse(config("folder: 2021-11-07\n"))["folder"] == "2021-11-07"
    assert parse(config("folder: '-한국어'\n"))["folder"] == "-한국어"


def test_what_is_written_in_json_is_what_a_flag_gets(config: Any) -> None:
    text = '{"folder": 1.50, "my_rate": 2e-1, "seed": 7, "sure": true, "safe": false, "share": null, "numbers": [3, 4]}'
    values = parse(config(text, "run.json"))
    assert (values["folder"], values["rate"], values["seed"], values["sure"]) == ("1.50", 0.2, 7, True)
    assert (values["safe"], values["share"], values["numbers"]) == (False, None, [3, 4])


def test_the_command_line_wins_wherever_it_stands(config: Any) -> None:
    file = config("seed: 3\nfolder: a\n")
    assert parse([*file, "--seed", "7"])["seed"] == parse(["--seed", "7", *file])["seed"] == 7
    assert parse([*file, "--seed", "7"])["folder"] == "a"


def test_required_flags_can_be_in_the_file(config: Any) -> None:
    assert parse(config("source: a\ntarget: b\n"), Needy)["source"] == "a"


def test_something_with_flags_of_its_own_is_a_nested_mapping(config: Any) -> None:
    assert parse(config("kind: {Ball: {radius: 0.50, name: 'a,b'}}"))["kind"] == 'Ball,radius=0.50,name="a,b"'
    nested = "kind:\n  Bag:\n    parts:\n    - Box\n    - Ball: {radius: 2}\n    none:\n"
    assert parse(config(nested))["kind"] == 'Bag,parts=Box+"Ball,radius=2"'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sead: a", "--sead is not a flag of command.py; did you mean --seed?"),
        ("name: a", "--name would be ignored: add --fast"),
        ("seed: 11", "--seed 11 must be at least 0 and at most 9"),
        ("shift: .inf", "--shift inf must be a finite number of 32 bits"),
        ("seed: [1, 2]", "do not know what to do with 2: every value needs its flag"),
        ("seed: 1:30", "argument --seed: invalid int value: '1:30'"),
        ("- a\n- b", "--config {path} must hold a mapping of flags to values"),
        ("", "--config {path} must hold a mapping of flags to values"),
        ("run: {seed: 1}", "--config {path}: run must be a flag with a value; files do not nest"),
        ("seed: {a: 1}", "--config {path}: seed must be a flag with a value; files do not nest"),
        ("config: other.yaml", "--config {path}: config must be a flag with a value; files do not nest"),
        ("kind: {A: 1}", "--config {path}: kind must hold values, or NAME: {{flag: value}} for one with flags of its "
                         "own"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(config: Any, refusal: Any, text: str, complaint: str) -> None:
    words = config(text)
    assert refusal(words) == [complaint.format(path=words[1])]


@pytest.mark.parametrize(("name", "text"), [("run.yaml", "a: [1"), ("run.json", '{"seed": 1'), ("run.yaml", "\x00")])
def test_a_file_that_cannot_be_parsed_is_named_in_one_line(config: Any, refusal: Any, name: str, text: str) -> None:
    words = config(text, name)
    (complaint,) = refusal(words)
    assert complaint.startswith(f"--config {words[1]} cannot be read: ")


@pytest.mark.parametrize("text", ["hub_token: S3CRET: x", "hub_token: 'S3CRET", "a: 1\nhub_token: [S3CRET"])
def test_what_cannot_be_read_is_not_repeated(text: str, refusal: Any, config: Any) -> None:
    (complaint,) = refusal(config(text))
    assert "cannot be read: " in complaint and " at line " in complaint and "S3CRET" not in complaint


def test_the_record_of_a_run_is_a_file_that_repeats_it(config: Any) -> None:
    """Also what was not read is in it: what has its default needs no flag."""
    words = "--my_rate 0.125 --fast --mode quick --numbers 7 --kind Ball --radius 2"
    args = parse_arguments(Command, words.split())
    record = json.dumps(record_of(args))
    assert parse_arguments(Command, config(record, "arguments.json")) == args
    again = parse_arguments(Command, [*config(record, "arguments.json"), "--seed", "7"])
    assert again == dataclasses.replace(args, seed=7)
    assert record_of(args)["my_rate"] == 0.125 and "rate" not in record_of(args)


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


# ---------------------------------------------------------------------------------------------------------------- help


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
