"""Command lines: words, and files of flags, become the arguments that a command declares (see ``runtime/flags.py``).

A flag that would be ignored is refused with the reason, an unknown one names the nearest, all faults come at once, and
``--config FILE`` (YAML or JSON) gives values that the command line overrides. This module knows no flag by its name.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import math
import os
import re
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn, TypeVar

from runtime.config_file import mapping_of, words_of_config
from runtime.errors import UserError, printing
from runtime.flags import (
    COMMANDS,
    Flag,
    contradictions_of,
    default_of,
    fields_by_group,
    fields_by_name,
    flag_of,
    spelling_of,
)
from runtime.help_page import help_page, invocation, overview, shown_name
from runtime.locks import fault_of_file, fault_of_folder
from runtime.masking import holds_credentials, masked, without_credentials
from runtime.text import escaped

_Arguments = TypeVar("_Arguments")

_LARGEST_INT, _LARGEST_FLOAT = 2**31 - 1, 3.4e38  # of 32 bits, which counts and models are computed in
_NEGATIVE_NUMBER = re.compile(r"-\.?\d")
_HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs, as which bytes arrive that are not UTF-8
_TRUE, _FALSE = ("yes", "true", "t", "y", "1", "on"), ("no", "false", "f", "n", "0", "off")


class FlagError(UserError):
    """Everything that is wrong with some flags."""

    def __init__(self, complaints: Sequence[str]) -> None:
        self.complaints = [escaped(without_credentials(complaint)) for complaint in complaints]
        super().__init__("; ".join(self.complaints))


def parse_arguments(arguments_class: type[_Arguments], argv: Sequence[str] | None = None) -> _Arguments:
    """Parse ``argv``, by default the command line, into a command's arguments.

    Raises ``SystemExit``: with status 0 after ``--help``, with status 2 and a line on standard error for every flag
    that is unknown, would be ignored or is out of range. Raises :class:`UserError` for files and folders that could
    not be written.
    """
    words = sys.argv[1:] if argv is None else argv
    sys.argv[1:] = masked(sys.argv[1:])  # trackers read it too
    arguments = _parsed(arguments_class, words)
    if faults := list(_faults_of_places(arguments)):
        raise UserError("; ".join(faults))
    return arguments


def check_command_line(arguments_class: type) -> None:
    """Answer ``--help`` and refuse what is wrong with the command line, before the slow imports of a command."""
    if faults := list(_faults_of_places(_parsed(arguments_class, sys.argv[1:]))):
        sys.stderr.write("".join(f"error: {fault}\n" for fault in faults))
        raise SystemExit(2)


def _parsed(arguments_class: type[_Arguments], words: Sequence[str]) -> _Arguments:
    name = arguments_class.command  # type: ignore[attr-defined]
    try:
        if (page := _help(arguments_class, words)) is not None:
            with printing():
                sys.stdout.write(page)
            raise SystemExit(0)
        return read_arguments(arguments_class, words)
    except FlagError as error:
        lines = [f"{name}: error: {complaint}" for complaint in error.complaints]
        sys.stderr.write("\n".join([*lines, f"see {invocation(name)} --help", ""]))
        raise SystemExit(2) from None


def read_arguments(
    arguments_class: type[_Arguments],
    argv: Sequence[str],
    base: Mapping[str, Any] | None = None,
    who: str | None = None,
) -> _Arguments:
    """Return ``argv`` as arguments; ``base`` holds values of flags that it does not give, instead of their defaults.

    ``who`` is named in complaints, by default the command. Raises :class:`FlagError` with all that is wrong.
    """
    fields, base = fields_by_name(arguments_class), dict(base or {})
    name = who or arguments_class.command  # type: ignore[attr-defined]
    parser = _Parser(arguments_class, name)
    try:
        argv = _without_lone_dashes(argv, parser)
        usual = {key: base.get(key, default_of(origin)) for key, origin in fields.items()}
        words = words_of_config(_config_path(argv), parser, fields, usual) + argv
    except UserError as error:
        raise FlagError([str(error)]) from None
    namespace, unknown = parser.parse_known_args(words)
    given = vars(namespace)
    given.pop("config", None)

    words = [word for word in unknown if word.startswith("-") and not _NEGATIVE_NUMBER.match(word)]
    complaints = [_complain_unknown(word, parser) for word in words]
    if unknown and not complaints:
        complaints.append(f"do not know what to do with {' '.join(masked(unknown))}: every value needs its flag")
    required = [key for key, value in usual.items() if value is dataclasses.MISSING and key not in given]
    if required:
        missing = ", ".join(shown_name(fields[key]) for key in required)
        raise FlagError([*complaints, f"the following arguments are required: {missing}"])
    arguments = arguments_class(**base | given)
    complaints += list(_complain_ignored(arguments, given))
    complaints += [
        f"--{spelling_of(fields[key])} must not hold credentials: {flag_of(fields[key]).way_out_of_credentials}"
        for key, value in given.items()
        if holds_credentials(value)
    ]
    complaints += list(_complain_values(arguments, given))
    if complaints:
        raise FlagError(complaints)
    return arguments


class _FlagParser(argparse.ArgumentParser):
    """Says what is wrong, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        raise FlagError([message])


class _Parser(_FlagParser):
    """Knows the flags of a command, their older names and, for ``--max_len``, the spelling ``--max-len``."""

    def __init__(self, arguments_class: type, name: str) -> None:
        super().__init__(prog=name, add_help=False, allow_abbrev=False)
        self.arguments_class = arguments_class
        self.fields = fields_by_name(arguments_class)
        self.spellings: list[str] = []
        self.add_argument("--config", default=argparse.SUPPRESS)
        hints = typing.get_type_hints(arguments_class)
        for key, origin in self.fields.items():
            if flag_of(origin).positional:
                several = typing.get_origin(hints[key]) is list
                self.add_argument(key, metavar=key.upper(), default=argparse.SUPPRESS, nargs="*" if several else "?")
                if several:
                    continue
            names = [spelling_of(origin), *flag_of(origin).aliases]
            self.spellings += names
            dashed = [one.replace("_", "-") for one in names if "_" in one]
            options: dict[str, Any] = {"dest": key, "default": argparse.SUPPRESS}
            options |= _options(hints[key], flag_of(origin).choices)
            if flag_of(origin).repeatable:
                options["action"] = "extend"
            action = self.add_argument(*(f"--{one}" for one in (*names, *dashed)), **options)
            action.option_strings = [f"--{one}" for one in names]  # errors need not repeat the others
            if options.get("const") is True and default_of(origin) is True:
                opposite = [f"--no_{names[0]}", f"--no-{names[0].replace('_', '-')}"]
                self.add_argument(*opposite, dest=key, default=argparse.SUPPRESS, action="store_false")
        self._negative_number_matcher = _NEGATIVE_NUMBER  # argparse's own takes -1e-5 for a flag


def _options(hint: Any, choices: tuple[str, ...] | None) -> dict[str, Any]:
    """Return how argparse reads a flag of type ``hint``."""
    members = [one for one in typing.get_args(hint) if one is not type(None)]
    words = [word for one in members if typing.get_origin(one) is typing.Literal for word in typing.get_args(one)]
    if words and int in members:
        return {"type": functools.partial(_number_or_word, words)}
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = members
    if typing.get_origin(hint) is typing.Literal:
        hint, choices = str, tuple(typing.get_args(hint))
    if typing.get_origin(hint) is list:
        return {"nargs": "+", "type": typing.get_args(hint)[0], "choices": choices}
    if typing.get_origin(hint) is dict:
        return {"type": mapping_of}
    if hint is bool:
        return {"type": _truth, "nargs": "?", "const": True}
    return {"type": hint, "choices": choices}


def _number_or_word(words: Sequence[str], given: str) -> int | str:
    try:
        return given if given in words else int(given)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{given!r} is neither a whole number nor {' or '.join(words)}") from None


def _truth(word: str) -> bool:
    if word.lower() in _TRUE + _FALSE:
        return word.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{word!r} is neither true nor false")


def _config_path(argv: Sequence[str]) -> str | None:
    finder = _FlagParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    return finder.parse_known_args(argv)[0].config


def _help(arguments_class: type, words: Sequence[str]) -> str | None:
    """Return what ``--help`` in ``words``, perhaps with a group's name after it, asks for; None without it."""
    asked = next((index for index, word in enumerate(words) if word in ("-h", "--help")), None)
    if asked is None:
        return None
    groups = fields_by_group(arguments_class)
    name, description = arguments_class.command, arguments_class.description  # type: ignore[attr-defined]
    wanted = words[asked + 1] if asked + 1 < len(words) and not words[asked + 1].startswith("-") else None
    if wanted is None:
        return overview(name, description, groups)
    if wanted != "all" and wanted not in groups:
        raise FlagError([f"--help {wanted} is not a group of flags; choose from: {', '.join([*groups, 'all'])}"])
    shown = groups if wanted == "all" else {wanted: groups[wanted]}
    return help_page(name, shown, typing.get_type_hints(arguments_class))


def _without_lone_dashes(argv: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return ``argv`` without the words ``--``, which stand before words without a flag: there are none here."""
    for dashes, word in pairwise(argv):
        if dashes == "--" and not word.startswith("-"):
            known = f"--{word}" in parser._option_string_actions
            raise UserError(f"-- {word}: write --{word}, without the blank" if known else "what follows -- is no flag")
    return [word for word in argv if word != "--"]


def _complain_unknown(word: str, parser: _Parser) -> str:
    """Say what is wrong with an unknown flag: another command's, the Trainer's, or a misspelling."""
    typed = word.split("=")[0]
    name, who = typed.lstrip("-").replace("-", "_"), parser.prog
    if reason := getattr(parser.arguments_class, "not_flags", {}).get(name):
        return f"{typed} is not a flag of {who}: {reason}"
    for origin in parser.fields.values():
        if name in (origin.name, *flag_of(origin).instead_of):
            return f"{typed} is not a flag of {who}: use --{spelling_of(origin)}"
    for group, reason in getattr(parser.arguments_class, "not_read", {}).items():
        if name in _spellings(group):
            return f"{typed} has no effect in {who}: {reason}"
    owners = [file for file, known in COMMANDS.items() if name in _spellings(known)]
    if owners:
        return f"{typed} has no effect in {who}; it is a flag of {' and '.join(_shortened(owners))}"
    nearest = difflib.get_close_matches(name, parser.spellings, n=1)
    return f"{typed} is not a flag of {who}" + (f"; did you mean --{nearest[0]}?" if nearest else "")


def _spellings(group: type) -> set[str]:
    return set(map(spelling_of, fields_by_name(group).values()))


def _shortened(owners: list[str]) -> list[str]:
    return owners if len(owners) <= 2 else [", ".join(owners[:-1]), owners[-1]]


def _complain_ignored(arguments: Any, given: Collection[str]) -> Iterator[str]:
    """Say of the flags that nothing would read why that is.

    Arguments that are read several times, with other values each, give all ``readings()`` of them: what one of these
    reads is right.
    """
    readings = arguments.readings() if hasattr(arguments, "readings") else [arguments]
    for key, origin in fields_by_name(arguments).items():
        if key in given:
            faults = [[fault for test in flag_of(origin).read_if if (fault := test(one))] for one in readings]
            if all(faults):
                for reason in dict.fromkeys(fault for some in faults for fault in some):
                    yield f"--{spelling_of(origin)} would be ignored: {reason}"


def _complain_values(arguments: Any, given: Collection[str]) -> Iterator[str]:
    for key, origin in fields_by_name(arguments).items():
        value, described = getattr(arguments, key), flag_of(origin)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and (fault := _fault_of(number, described)):
                yield f"--{spelling_of(origin)} {_written(number)} must be {fault}"
        if key in given and (fault := _fault_of_text(value)):
            yield f"{shown_name(origin)} {fault}"
        elif key in given and described.fault is not None and (fault := described.fault(value)):
            yield f"--{spelling_of(origin)} {value!r} {fault}"
    yield from contradictions_of(arguments)


def _faults_of_places(arguments: Any) -> Iterator[str]:
    """Say of the files and folders that are to be written which could not be."""
    for key, origin in fields_by_name(arguments).items():
        path, described = getattr(arguments, key), flag_of(origin)
        if path is None or described.writes is None or any(test(arguments) for test in described.read_if):
            continue
        fault = (fault_of_file if described.writes == "file" else fault_of_folder)(path)
        if fault and not (described.writes == "store" and os.path.isdir(path) and os.listdir(path)):
            yield f"--{spelling_of(origin)} {path} {fault}"


def _fault_of_text(value: Any) -> str | None:
    """Return why a text, or one of several, could be neither printed nor written, nor name a file."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and "\0" in text:
            return f"{text!r} holds a null character: leave it out"
        if isinstance(text, str) and _HALVES.search(text):
            return f"{text!r} is not UTF-8: type it again, or rename what it names"
    return None


def _written(number: float) -> str:
    try:
        return f"{number:.10g}"
    except OverflowError:
        return f"(a number of {len(str(abs(int(number))))} digits)"


def _fault_of(number: float, described: Flag) -> str | None:
    """Return what ``number`` must be and is not."""
    if isinstance(number, float) and not abs(number) <= _LARGEST_FLOAT:
        return "a finite number of 32 bits"
    low = described.above if described.above > -math.inf else described.at_least
    if number < described.at_least or number <= described.above or number > described.at_most:
        most = "" if described.at_most == math.inf else f" and at most {described.at_most:.10g}"
        return f"{'above' if described.above > -math.inf else 'at least'} {low:g}{most}"
    if isinstance(number, int) and described.at_most == math.inf and number > _LARGEST_INT:
        return f"at most {_LARGEST_INT}"
    return None
