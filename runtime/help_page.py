"""What ``--help`` prints: first the groups of flags, a group in full when it is named."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
import typing
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from runtime.flags import default_of, flag_of, spelling_of

_INDENT = 6


def invocation(command: str) -> str:
    """Return how users run a command: a file by its name, a module of a folder with ``-m``."""
    return f"python {command}" if command.endswith(".py") else f"python -m {command}"


def overview(command: str, description: str, groups: Mapping[str, Sequence[dataclasses.Field]]) -> str:
    """Return one screen: what a command does and the names of its flags, group by group."""
    width = max(map(len, groups)) + 2
    lines = [f"usage: {invocation(command)} [--flag VALUE ...]", "", description, ""]
    for group, fields in groups.items():
        lines += _wrapped(" ".join(map(shown_name, fields)), f"{group:<{width}}", " " * width)
    lines += [
        "",
        f"--help GROUP explains a group (--help {next(iter(groups))}), --help all every flag.",
        "--config FILE reads flags from a YAML or JSON file; the command line wins.",
    ]
    return "\n".join(lines) + "\n"


def help_page(command: str, groups: Mapping[str, Sequence[dataclasses.Field]], hints: Mapping[str, Any]) -> str:
    """Return what every flag of ``groups`` does, with its values and default; ``hints`` are the fields' types."""
    lines = []
    for group, fields in groups.items():
        lines += [f"{group} ({invocation(command)})", ""]
        for one in fields:
            lines.append(f"  {signature(one, hints[one.name])}")
            lines += _wrapped(explanation(one), " " * _INDENT, " " * _INDENT)
        lines.append("")
    return "\n".join(lines)


def signature(one: dataclasses.Field, hint: Any) -> str:
    """Return the spellings of a flag and what follows it: ``--head, --custom_model HEAD``."""
    names = ", ".join(f"--{name}" for name in (spelling_of(one), *flag_of(one).aliases))
    if flag_of(one).positional:
        word = one.name.upper()
        return f"{word} [{word} ...]" if typing.get_origin(hint) is list else f"{word}, {names}"
    members = [kind for kind in typing.get_args(hint) if kind is not NoneType] or [hint]
    if bool in members:
        return f"{names} [true|false]"
    choices = _choices_of(one, hint)
    value = "{" + ",".join(choices) + "}" if choices else spelling_of(one).upper()
    several = any(typing.get_origin(kind) is list for kind in (hint, *members))
    return f"{names} {value}" + (f" [{value} ...]" if several else "")


def explanation(one: dataclasses.Field) -> str:
    """Return a flag's line of help with its default, where that says something."""
    default = default_of(one)
    if default in (None, dataclasses.MISSING, [], {}):
        return flag_of(one).help
    shown = " ".join(map(str, default)) if isinstance(default, list) else default
    return f"{flag_of(one).help} (default: {shown})"


def shown_name(one: dataclasses.Field) -> str:
    """Return a flag as users type it, with its dashes, and words without a flag in capitals."""
    return one.name.upper() if flag_of(one).positional else f"--{spelling_of(one)}"


def _choices_of(one: dataclasses.Field, hint: Any) -> tuple[str, ...]:
    """Return the words that a flag may be, N for a number beside them; none where it may be any."""
    members = typing.get_args(hint)
    literals = [kind for kind in (hint, *members) if typing.get_origin(kind) is typing.Literal]
    number = ("N",) if int in members else ()
    return (*number, *typing.get_args(literals[0])) if literals else flag_of(one).choices or ()


def _wrapped(text: str, first: str, others: str) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 120)
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
