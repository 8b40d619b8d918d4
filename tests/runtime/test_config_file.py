"""Files of flags: what is written there is what a flag gets, and what is wrong with one is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up_commands import Needy, parse


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
        (
            "fast: [[a]]",
            "--config {path}: fast must hold values, or NAME: {{flag: value}} for one with flags of its own",
        ),
        ("seed: [1, 2]", "do not know what to do with 2: every value needs its flag"),
        ("seed: 1:30", "argument --seed: invalid int value: '1:30'"),
        ("- a\n- b", "--config {path} must hold a mapping of flags to values"),
        ("", "--config {path} must hold a mapping of flags to values"),
        ("run: {seed: 1}", "--config {path}: run must be a flag with a value; files do not nest"),
        ("seed: {a: 1}", "--config {path}: seed must be a flag with a value; files do not nest"),
        ("seed: 1\nname: a\nseed: 2", "--config {path} cannot be read: seed stands twice in it"),
        ("[" * 5000, "--config {path} cannot be read: it nests too deeply"),
        ("config: other.yaml", "--config {path}: config must be a flag with a value; files do not nest"),
        ("seed: &a [x]\nnumbers: [*a, *a]", "--config {path} cannot be read: an alias (*) stands for a list or a "
                                            "mapping in it: write it out"),
        ("seed: &a {b: 1}\nkind: {<<: *a}", "--config {path} cannot be read: an alias (*) stands for a list or a "
                                            "mapping in it: write it out"),
        ("seed: !!set {1, 2}", "--config {path} cannot be read: Object of type set is not JSON serializable"),
        ("kind: {A: 1}", "--config {path}: kind must hold values, or NAME: {{flag: value}} for one with flags of its "
                         "own"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(config: Any, refusal: Any, text: str, complaint: str) -> None:
    words = config(text)
    assert refusal(words) == [complaint.format(path=words[1])]


@pytest.mark.parametrize("name", ["run.yaml", "run.json"])
def test_a_byte_order_mark_is_no_part_of_a_file(config: Any, name: str) -> None:
    assert parse(config('\ufeff{"seed": 3}', name))["seed"] == 3


def test_an_alias_may_stand_for_a_value(config: Any) -> None:
    assert parse(config("seed: &n 3\nnumbers: [*n, 4]"))["numbers"] == [3, 4]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "cannot be read: it nests too deeply"),
        ('{"a": ' * 900 + "1" + "}" * 900, "cannot be read: it nests too deeply"),
        ('{"seed": 1, "name": "a", "seed": 2, "name": "b"}', "cannot be read: seed, name stand twice in it"),
        ('{"folder": "\\ud800"}', "holds half of a surrogate pair, which is no character"),
    ],
)
def test_nonsense_in_json_is_said(config: Any, refusal: Any, text: str, reason: str) -> None:
    words = config(text, "run.json")
    assert refusal(words) == [f"--config {words[1]} {reason}"]


def test_a_file_in_another_encoding_is_said(config: Any, refusal: Any, tmp_path: Path) -> None:
    words = config("", "run.yaml")
    Path(words[1]).write_bytes("folder: 한글".encode("cp949"))
    (complaint,) = refusal(words)
    assert complaint.startswith(f"--config {words[1]} is not UTF-8: byte 0xc7 at offset 8; it reads as CP949")


@pytest.mark.parametrize(("name", "text"), [("run.yaml", "a: [1"), ("run.json", '{"seed": 1'), ("run.yaml", "\x00")])
def test_a_file_that_cannot_be_parsed_is_named_in_one_line(config: Any, refusal: Any, name: str, text: str) -> None:
    words = config(text, name)
    (complaint,) = refusal(words)
    assert complaint.startswith(f"--config {words[1]} cannot be read: ")


@pytest.mark.parametrize("text", ["hub_token: S3CRET: x", "hub_token: 'S3CRET", "a: 1\nhub_token: [S3CRET"])
def test_what_cannot_be_read_is_not_repeated(text: str, refusal: Any, config: Any) -> None:
    (complaint,) = refusal(config(text))
    assert "cannot be read: " in complaint and " at line " in complaint and "S3CRET" not in complaint
