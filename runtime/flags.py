"""Flags as fields of dataclasses: a field says all that there is to know about its flag.

    @flag_group("data")
    class DataArguments:
        dataset_path: str = flag("../data", "Folder or file of examples.")
        max_samples: int | None = flag(None, "Read only the first so many.", at_least=1)

    @command("count.py", "Count examples.")
    class CountArguments(DataArguments): ...

A command's arguments are one dataclass that inherits the groups it reads; ``runtime/command_line.py`` fills it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from typing_extensions import dataclass_transform

from runtime.masking import is_secret

_Class = TypeVar("_Class", bound=type)
_Arguments = TypeVar("_Arguments")


class Condition(Protocol):
    """Whether a flag is read."""

    def __call__(self, arguments: Any) -> str | None:
        """Return why the flag would be ignored with these arguments of a command; None where it is read."""

    def reasons(self) -> list[str]:
        """Return everything that a call may give."""


COMMANDS: dict[str, type] = {}
"""The arguments of every command, by the file, or after ``-m`` the module, that users type."""


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
    positional: bool = False  # words without a flag before them; a single one may have its flag too
    repeatable: bool = False  # a list to which every time that it is given adds
    has_own_flags: bool = False  # a value may be NAME,flag=value,... (see runtime/one_word.py)
    read_if: tuple[Condition, ...] = ()
    fault: Callable[[Any], str | None] | None = None  # what is wrong with a value, to follow it in a sentence
    writes: Literal["folder", "file", "store"] | None = None  # a store may be read-only once it is filled
    way_out_of_credentials: str = "flags are logged and saved"


def flag(default: Any = dataclasses.MISSING, help: str = "", *, read_if: Any = (), **facts: Any) -> Any:
    """Return a dataclass field that is a flag; ``facts`` are those of :class:`Flag`, lists are allowed in it."""
    facts = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in facts.items()}
    read_if = (read_if,) if callable(read_if) else tuple(read_if)
    metadata = {"flag": Flag(help, read_if=read_if, **facts)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def changed(source: type, name: str, default: Any = dataclasses.MISSING, /, **facts: Any) -> Any:
    """Return the flag ``name`` of ``source`` with another default or other facts, for a class that inherits it."""
    return _with_facts(fields_by_name(source)[name], default, facts)


def _with_facts(origin: dataclasses.Field, default: Any, facts: Mapping[str, Any]) -> Any:
    default = default_of(origin) if default is dataclasses.MISSING else default
    return flag(default, **{**vars(flag_of(origin)), **facts})


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
    """Make a class the arguments of the command ``file``, or, named without ``.py``, of a module that ``-m`` runs.

    It may say why users find flags missing that they know from elsewhere: ``not_flags`` maps their names to what to do
    instead, ``not_read`` groups of other commands to the reason.
    """

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
    made = _subclass(group)
    for name, origin in fields_by_name(group).items():
        changes(name, read_if=(*conditions, *flag_of(origin).read_if))(made)
    return flag_group("")(made)


def with_parameters(
    registry: Mapping[str, type | None], chosen_by: str, chosen: Callable[[Any], Collection[str]]
) -> Callable[[_Class], _Class]:
    """Add to a group the flags that the entries of a ``registry`` declare, each in a dataclass of its own.

    A flag is read where an entry that ``chosen(arguments)`` names declares it, under the conditions stated there;
    ``chosen_by`` is the flag that chooses. The group becomes a subclass of all of these dataclasses.
    """

    def decorate(cls: _Class) -> _Class:
        groups = [group for group in dict.fromkeys(registry.values()) if group is not None]
        narrowest = [one for one in groups if not any(one in other.__mro__[1:] for other in groups)]
        made: Any = _subclass(cls, *narrowest)
        for name in dict.fromkeys(name for group in groups for name in fields_by_name(group)):
            if name not in fields_by_name(cls):
                changes(name, read_if=ReadByChosen(name, registry, chosen_by, chosen))(made)
        return flag_group("")(made)

    return decorate


def _subclass(group: type, *others: type) -> Any:
    """Return a class of the name of ``group`` that inherits it and ``others``, not yet a dataclass of its own."""
    return type(group.__name__, (group, *others), {"__doc__": group.__doc__, "__module__": group.__module__})


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


def fields_by_group(group: type) -> dict[str, list[dataclasses.Field]]:
    """Return the fields of a dataclass of flags by the title under which help shows them."""
    groups: dict[str, list[dataclasses.Field]] = {}
    for origin in fields_by_name(group).values():
        groups.setdefault(flag_of(origin).group, []).append(origin)
    return groups


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


def contradictions_of(arguments: Any) -> Iterator[str]:
    """Yield what is wrong with the values together, as the ``contradictions`` of each group say."""
    for cls in type(arguments).__mro__:
        if "contradictions" in vars(cls):  # each group's own
            yield from vars(cls)["contradictions"](arguments)


def record_of(arguments: Any) -> dict[str, Any]:
    """Return all flags and values, for ``arguments.json``, as ``--config`` reads them; None in the place of secrets."""
    values = {}
    for name, origin in fields_by_name(arguments).items():
        values[spelling_of(origin)] = None if is_secret(name) else getattr(arguments, name)
    return values


def given_of(arguments: Any) -> dict[str, Any]:
    """Return the flags, as users type them, that have another value than their default, without secrets."""
    fields = {spelling_of(origin): default_of(origin) for origin in fields_by_name(arguments).values()}
    return {name: value for name, value in record_of(arguments).items() if value not in (None, fields[name])}
