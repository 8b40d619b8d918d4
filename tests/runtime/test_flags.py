"""What a declaration of flags gives: defaults, older names, groups, parts and records."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from made_up_commands import Box, Command, Other, Run, parse

from runtime.command_line import parse_arguments
from runtime.flags import fields_by_name, flag, flag_group, flag_of, only_if, part_of, read_only_if, record_of


def test_without_flags_every_value_is_its_default() -> None:
    assert parse("") == dataclasses.asdict(Command())
    assert (Command().rate, Run().rate, Command().numbers) == (0.25, 0.5, [1, 2])
    assert Command().numbers is not Command().numbers


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


def test_the_record_of_a_run_is_a_file_that_repeats_it(config: Any) -> None:
    """Also what was not read is in it: what has its default needs no flag."""
    words = "--my_rate 0.125 --fast --mode quick --numbers 7 --kind Ball --radius 2"
    args = parse_arguments(Command, words.split())
    record = json.dumps(record_of(args))
    assert parse_arguments(Command, config(record, "arguments.json")) == args
    again = parse_arguments(Command, [*config(record, "arguments.json"), "--seed", "7"])
    assert again == dataclasses.replace(args, seed=7)
    assert record_of(args)["my_rate"] == 0.125 and "rate" not in record_of(args)
