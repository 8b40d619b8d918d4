"""Command lines from dataclasses: a field is a flag, and says all that there is to know about it.

    @flag_group("data")
    class DataArguments:
        dataset_path: str = flag("../data", "Folder or file of examples.")
        max_samples: int | None = flag(None, "Read only the first so many.", at_least=1)

    @command("count.py", "Count examples.")
    class CountArguments(DataArguments): ...

    args = parse_arguments(CountArguments, argv)

A command's arguments are one dataclass that inherits the groups it reads. A flag that would be ignored is refused with
the reason, an unknown one names the nearest, all faults come at once, and ``--config FILE`` (YAML or JSON) gives values
that the command line overrides.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NoReturn, Protocol, TypeVar

from typing_extensions import dataclass_transform

from runtime.config_file import words_of_config
from runtime.errors import UserError
from runtime.help_page import help_page, overview
from runtime.masking import is_secret, masked

_Class = TypeVar("_Class", bound=type)
_Arguments = TypeVar("_Arguments")


class Condition(Protocol):
    """Whether a flag is read."""

    def __call__(self, arguments: Any) -> str | None:
        """Return why the flag would be ignored with these arguments of a command; None where it is read."""

    def reasons(self) -> list[str]:
        """Return everything that a call may give."""


COMMANDS: dict[str, type] = {}
"""The arguments of every command, by the file that users type."""

_LARGEST_INT, _LARGEST_FLOAT = 2**31 - 1, 3.4e38  # of 32 bits, which counts and models are computed in
_NEGATIVE_NUMBER = re.compile(r"-\.?\d")
_CREDENTIALS = re.compile(r"\w+://[^/\s]*@")  # in a URL
_TRUE, _FALSE = ("yes", "true", "t", "y", "1", "on"), ("no", "false", "f", "n", "0", "off")


# ------------------------------------------------------------------------------------------------------- declaring


@dataclass(frozen=True)
class Flag:
    """What a flag says of itself beside its name, type and default."""

    help: str
    group: str = ""
    aliases: tuple[str, ...] = ()  # older names
    spelling: str | None = None  # what users type, where it is not the field's name
    instead_of: tuple[str, ...] = ()  # flags of other commands in whose place it stands
    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    choices: tuple[str, ...] | None = None
    positional: bool = False  # words without a flag before them
    has_own_flags: bool = False  # a value may be NAME,flag=value,... (see runtime/one_word.py)
    read_if: tuple[Condition, ...] = ()
    fault: Callable[[Any], str | None] | None = None  # what is wrong with a value, to follow it in a sentence
    way_out_of_credentials: str = "flags are logged and saved"


def flag(default: Any = dataclasses.MISSING, help: str = "", *, read_if: Any = (), **facts: Any) -> Any:
    """Return a dataclass field that is a flag; ``facts`` are those of :class:`Flag`, lists are allowed in it."""
    facts = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in facts.items()}
    read_if = (read_if,) if callable(read_if) else tuple(read_if)
    metadata = {"flag": Flag(help, read_if=read_if, **facts)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def changed(source: type, name: str, default: Any = dataclasses.MISSING, /, **facts: Any) -> Any:
    """Return the flag ``name`` of ``source`` with another default or other facts, for a class that inherits it."""
    return _with_facts(fields_by_name(source)[name], default, facts)


def _with_facts(origin: dataclasses.Field, default: Any, facts: Mapping[str, Any]) -> Any:
    described = {one.name: getattr(flag_of(origin), one.name) for one in dataclasses.fields(Flag)} | dict(facts)
    return flag(default_of(origin) if default is dataclasses.MISSING else default, **described)


@dataclass(frozen=True)
class OnlyIf:
    """A :class:`Condition` that holds where ``test(arguments)`` does."""

    test: Callable[[Any], Any]
    reason: str

    def __call__(self, arguments: Any) -> str | None:
        return None if self.test(arguments) else self.reason

    def reasons(self) -> list[str]:
        return [self.reason]


def only_if(test: Callable[[Any], Any], reason: str) -> OnlyIf:
    """Return the condition that holds where ``test(arguments)`` does, else gives ``reason``."""
    return OnlyIf(test, reason)


@dataclass(frozen=True)
class ReadByChosen:
    """The :class:`Condition` of a parameter: an entry of a registry that is chosen must declare it and read it."""

    name: str
    registry: Mapping[str, type | None]
    chosen_by: str
    chosen: Callable[[Any], Collection[str]]

    def __call__(self, arguments: Any) -> str | None:
        found = [self._declared[key] for key in self.chosen(arguments) if key in self._declared]
        faults = [[fault for test in flag_of(one).read_if if (fault := test(arguments))] for one in found]
        if not all(faults):
            return None
        return faults[0][0] if faults else self.reasons()[0]

    def reasons(self) -> list[str]:
        names = list(self._declared)
        mine = f"only --{self.chosen_by} {', '.join(names)} {'reads' if len(names) == 1 else 'read'} it"
        theirs = [
            reason for one in self._declared.values() for test in flag_of(one).read_if for reason in test.reasons()
        ]
        return list(dict.fromkeys([mine, *theirs]))

    @functools.cached_property
    def _declared(self) -> dict[str, dataclasses.Field]:
        """The field of each entry that has this parameter."""
        fields = {key: fields_by_name(declared) for key, declared in self.registry.items() if declared is not None}
        return {key: found[self.name] for key, found in fields.items() if self.name in found}


@dataclass_transform()
def flag_group(title: str) -> Callable[[_Class], _Class]:
    """Make a class a dataclass of flags that help shows under ``title``, whose constructor takes older names too."""

    def decorate(cls: _Class) -> _Class:
        for name in vars(cls).get("__annotations__", {}):
            declared = vars(cls).get(name)
            if isinstance(declared, dataclasses.Field) and not flag_of(declared).group:
                declared.metadata = types.MappingProxyType(
                    {**declared.metadata, "flag": dataclasses.replace(flag_of(declared), group=title)}
                )
        dataclass(cls)
        _take_older_names(cls)
        return cls

    return decorate


@dataclass_transform()
def command(file: str, description: str) -> Callable[[_Class], _Class]:
    """Make a class the arguments of the command ``file``; its own flags are changed ones of its groups."""

    def decorate(cls: _Class) -> _Class:
        made: Any = flag_group("command")(cls)
        made.command, made.description = file, description
        COMMANDS[file] = made
        return made

    return decorate


def changes(*names: str, default: Any = dataclasses.MISSING, also_if: Condition | None = None, **facts: Any) -> Any:
    """Give inherited flags of a class another default, another condition beside their own, or other ``facts``."""

    def decorate(cls: _Class) -> _Class:
        annotations = dict(vars(cls).get("__annotations__", {}))
        for name in names:
            source = next(base for base in cls.__mro__ if name in getattr(base, "__dataclass_fields__", ()))
            origin = vars(cls).get(name) or fields_by_name(source)[name]  # its own, where it was changed already
            more = {} if also_if is None else {"read_if": (*flag_of(origin).read_if, also_if)}
            setattr(cls, name, _with_facts(origin, default, facts | more))
            annotations.setdefault(name, typing.get_type_hints(source)[name])
        cls.__annotations__ = annotations
        return cls

    return decorate


def declared(title: str, **flags: tuple[Any, Any]) -> type:
    """Return the group of ``flags``, each a type and a :func:`flag`: for a registry whose entries declare a few."""
    hints = {name: hint for name, (hint, _) in flags.items()}
    fields = {name: field for name, (_, field) in flags.items()}
    return flag_group(title)(type("Parameters", (), {"__annotations__": hints, "__doc__": "Parameters.", **fields}))


def read_only_if(group: type, *conditions: Condition) -> type:
    """Return a subclass of ``group`` all of whose flags are read only under these conditions as well."""
    namespace: dict[str, Any] = {"__annotations__": {}, "__doc__": group.__doc__, "__module__": group.__module__}
    hints = typing.get_type_hints(group)  # names of types mean nothing in another module
    for name, origin in fields_by_name(group).items():
        namespace[name] = changed(group, name, read_if=(*conditions, *flag_of(origin).read_if))
        namespace["__annotations__"][name] = hints[name]
    return flag_group("")(type(group.__name__, (group,), namespace))


def with_parameters(
    registry: Mapping[str, type | None], chosen_by: str, chosen: Callable[[Any], Collection[str]]
) -> Callable[[_Class], _Class]:
    """Add to a group the flags that the entries of a ``registry`` declare, each in a dataclass of its own.

    A flag is read where an entry that ``chosen(arguments)`` names declares it, under the conditions stated there;
    ``chosen_by`` is the flag that chooses. The group becomes a subclass of all of these dataclasses.
    """

    def decorate(cls: _Class) -> _Class:
        parameter_classes = [declared for declared in dict.fromkeys(registry.values()) if declared is not None]
        own = fields_by_name(cls)
        namespace: dict[str, Any] = {"__annotations__": {}, "__doc__": cls.__doc__, "__module__": cls.__module__}
        for declared in parameter_classes:
            hints = typing.get_type_hints(declared)
            for name in fields_by_name(declared):
                if name not in own and name not in namespace:
                    condition = ReadByChosen(name, registry, chosen_by, chosen)
                    namespace[name] = changed(declared, name, read_if=condition)
                    namespace["__annotations__"][name] = hints[name]
        bases: tuple[type, ...] = (
            cls,
            *(one for one in parameter_classes if not any(_inherits(other, one) for other in parameter_classes)),
        )
        made: Any = type(cls.__name__, bases, namespace)
        return flag_group("")(made)

    return decorate


def _inherits(cls: type, base: type) -> bool:
    return cls is not base and issubclass(cls, base)


def _take_older_names(group: type) -> None:
    """Let the constructor of ``group`` understand the older names of its flags, as the command line does.

    Then the method ``settle()`` of every class that it inherits, if it has one, may set or refuse values.
    """
    newer = {alias: name for name, origin in fields_by_name(group).items() for alias in flag_of(origin).aliases}
    construct = group.__init__  # type: ignore[misc]

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        if both := [f"{name} and {newer[name]}" for name in values if newer.get(name) in values]:
            raise TypeError(f"{group.__name__} takes only one of {both[0]}: they mean the same")
        construct(self, *args, **{newer.get(name, name): value for name, value in values.items()})
        for cls in type(self).__mro__:
            if "settle" in vars(cls):
                vars(cls)["settle"](self)

    group.__init__ = __init__  # type: ignore[misc]


# --------------------------------------------------------------------------------------------------------- asking


def fields_by_name(group: Any) -> dict[str, dataclasses.Field]:
    """Return the fields of a dataclass of flags by name, in the order of the groups that it inherits."""
    fields = {one.name: one for one in dataclasses.fields(group)}
    names = _names_in_order(group if isinstance(group, type) else type(group))
    return {name: fields[name] for name in names if name in fields}  # class variables are none


def _names_in_order(cls: type) -> dict[str, None]:
    names: dict[str, None] = {}
    for base in cls.__bases__:
        if dataclasses.is_dataclass(base):
            names |= _names_in_order(base)
    return names | dict.fromkeys(vars(cls).get("__dataclass_fields__", {}))


def flag_of(origin: dataclasses.Field) -> Flag:
    """Return what a field says of its flag."""
    return origin.metadata["flag"]


def spelling_of(origin: dataclasses.Field) -> str:
    """Return the flag of a field as users type it, without dashes."""
    return flag_of(origin).spelling or origin.name


def default_of(origin: dataclasses.Field) -> Any:
    """Return the default of a field; ``dataclasses.MISSING`` for a required one."""
    return origin.default if origin.default_factory is dataclasses.MISSING else origin.default_factory()


def part_of(arguments: Any, group: type[_Arguments], **changes: Any) -> _Arguments:
    """Return the ``group`` filled with the flags of the same names that ``arguments`` have, and with ``changes``."""
    shared = {name: getattr(arguments, name) for name in fields_by_name(group) if hasattr(arguments, name)}
    return group(**shared | changes)


def record_of(arguments: Any) -> dict[str, Any]:
    """Return all flags and values, for ``arguments.json``, as ``--config`` reads them; None in the place of secrets."""
    values = {}
    for name, origin in fields_by_name(arguments).items():
        values[spelling_of(origin)] = None if is_secret(name) else getattr(arguments, name)
    return values


# -------------------------------------------------------------------------------------------------------- parsing


class FlagError(UserError):
    """Everything that is wrong with some flags."""

    def __init__(self, complaints: Sequence[str]) -> None:
        self.complaints = list(complaints)
        super().__init__("; ".join(self.complaints))


def parse_arguments(arguments_class: type[_Arguments], argv: Sequence[str] | None = None) -> _Arguments:
    """Parse ``argv``, by default the command line, into a command's arguments.

    Raises ``SystemExit``: with status 0 after ``--help``, with status 2 and a line on standard error for every flag
    that is unknown, would be ignored or is out of range.
    """
    words = sys.argv[1:] if argv is None else argv
    sys.argv[1:] = masked(sys.argv[1:])  # trackers read it too
    return _parsed(arguments_class, words)


def check_command_line(arguments_class: type) -> None:
    """Answer ``--help`` and refuse what is wrong with the command line, before the slow imports of a command."""
    _parsed(arguments_class, sys.argv[1:])


def _parsed(arguments_class: type[_Arguments], words: Sequence[str]) -> _Arguments:
    name = arguments_class.command  # type: ignore[attr-defined]
    try:
        if (page := _help(arguments_class, words)) is not None:
            sys.stdout.write(page)
            raise SystemExit(0)
        return read_arguments(arguments_class, words)
    except FlagError as error:
        lines = [f"{name}: error: {complaint}" for complaint in error.complaints]
        sys.stderr.write("\n".join([*lines, f"see python {name} --help", ""]))
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
        missing = ", ".join(map(_shown, (fields[key] for key in required)))
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
                self.add_argument(key, metavar=key.upper(), default=argparse.SUPPRESS, nargs="*")
                continue
            names = [spelling_of(origin), *flag_of(origin).aliases]
            self.spellings += names
            dashed = [one.replace("_", "-") for one in names if "_" in one]
            options: dict[str, Any] = {"dest": key, "default": argparse.SUPPRESS}
            options |= _options(hints[key], flag_of(origin).choices)
            action = self.add_argument(*(f"--{one}" for one in (*names, *dashed)), **options)
            action.option_strings = [f"--{one}" for one in names]  # errors need not repeat the others
            if options.get("const") is True and default_of(origin) is True:
                opposite = [f"--no_{names[0]}", f"--no-{names[0].replace('_', '-')}"]
                self.add_argument(*opposite, dest=key, default=argparse.SUPPRESS, action="store_false")
        self._negative_number_matcher = _NEGATIVE_NUMBER  # argparse's own takes -1e-5 for a flag


def _options(hint: Any, choices: tuple[str, ...] | None) -> dict[str, Any]:
    """Return how argparse reads a flag of type ``hint``."""
    members = [one for one in typing.get_args(hint) if one is not type(None)]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = members
    if typing.get_origin(hint) is typing.Literal:
        hint, choices = str, tuple(typing.get_args(hint))
    if typing.get_origin(hint) is list:
        return {"nargs": "+", "type": typing.get_args(hint)[0], "choices": choices}
    if hint is bool:
        return {"type": _truth, "nargs": "?", "const": True}
    return {"type": hint, "choices": choices}


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
    groups: dict[str, list[dataclasses.Field]] = {}
    for origin in fields_by_name(arguments_class).values():
        groups.setdefault(flag_of(origin).group, []).append(origin)
    name, description = arguments_class.command, arguments_class.description  # type: ignore[attr-defined]
    wanted = words[asked + 1] if asked + 1 < len(words) and not words[asked + 1].startswith("-") else None
    if wanted is None:
        return overview(name, description, groups)
    if wanted != "all" and wanted not in groups:
        raise FlagError([f"--help {wanted} is not a group of flags; choose from: {', '.join([*groups, 'all'])}"])
    shown = groups if wanted == "all" else {wanted: groups[wanted]}
    return help_page(name, shown, typing.get_type_hints(arguments_class))


# ----------------------------------------------------------------------------------------------------- complaining


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
    owners = [file for file, known in COMMANDS.items() if name in set(map(spelling_of, fields_by_name(known).values()))]
    if owners:
        return f"{typed} has no effect in {who}; it is a flag of {' and '.join(_shortened(owners))}"
    nearest = difflib.get_close_matches(name, parser.spellings, n=1)
    return f"{typed} is not a flag of {who}" + (f"; did you mean --{nearest[0]}?" if nearest else "")


def _shown(origin: dataclasses.Field) -> str:
    return origin.name.upper() if flag_of(origin).positional else f"--{spelling_of(origin)}"


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


def holds_credentials(value: Any) -> bool:
    """Whether a value is, or lists, a URL with a user or password in it."""
    texts = value if isinstance(value, list) else [value]
    return any(isinstance(text, str) and _CREDENTIALS.search(text) for text in texts)


def _complain_values(arguments: Any, given: Collection[str]) -> Iterator[str]:
    for key, origin in fields_by_name(arguments).items():
        value, described = getattr(arguments, key), flag_of(origin)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and (fault := _fault_of(number, described)):
                yield f"--{spelling_of(origin)} {number:.10g} must be {fault}"
        if key in given and described.fault is not None and (fault := described.fault(value)):
            yield f"--{spelling_of(origin)} {value!r} {fault}"
    for cls in type(arguments).__mro__:
        if "contradictions" in vars(cls):  # each group's own
            yield from vars(cls)["contradictions"](arguments)


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
