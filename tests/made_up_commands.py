"""Commands that exist in tests alone, of groups of flags that stand for any."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from runtime.command_line import parse_arguments
from runtime.flags import COMMANDS, changed, command, flag, flag_group, only_if, with_parameters


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
MADE_UP = {file: COMMANDS.pop(file) for file in ("command.py", "other.py", "needy.py")}


def parse(words: str | list[str], arguments_class: type = Command) -> dict[str, Any]:
    return dataclasses.asdict(parse_arguments(arguments_class, words.split() if isinstance(words, str) else words))
