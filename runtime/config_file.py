"""Files of flags and values, YAML or JSON, read as the command line would be: what is written is what the flag gets."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import Field
from typing import Any

from runtime.errors import DataError, UserError
from runtime.files import read_users_text
from runtime.flags import flag_of
from runtime.one_word import join_word
from runtime.strict_json import RepeatedKeys, parse_json, repeated_keys


def words_of_config(
    path: str | None, parser: argparse.ArgumentParser, fields: Mapping[str, Field], usual: Mapping[str, Any]
) -> list[str]:
    """Return the words that the command line of ``parser`` would hold for the file in ``path``, if any.

    What is ``usual`` needs none, so that the ``arguments.json`` of a run serves, which holds every flag, also those
    that were not read. Raises :class:`UserError` for a file that cannot be read or is no mapping of flags.
    """
    words: list[str] = []
    for name, value in ({} if path is None else _read(path)).items():
        where = f"--config {path}: {name}"
        if name in fields and flag_of(fields[name]).positional and isinstance(value, list):
            words += [word_of(item, where) for item in value]
            continue
        action = parser._option_string_actions.get(f"--{name}")
        if isinstance(value, dict) and action is not None and action.type is mapping_of:
            words.append(f"--{name}={json.dumps(value)}")
            continue
        known = None if action is None else fields.get(action.dest)
        if name == "config" or (isinstance(value, dict) and not (known and flag_of(known).has_own_flags)):
            raise UserError(f"{where} must be a flag with a value; files do not nest")
        if action is not None and action.nargs != 0 and _is(usual[action.dest], value, action):
            continue
        if isinstance(value, list):
            words += [f"--{name}", *(word_of(item, where) for item in value)]
        elif value is not None:
            words.append(f"--{name}={word_of(value, where)}")  # joined, so that a value may begin with a dash
    return words


def mapping_of(text: str) -> dict[str, Any]:
    """Return the mapping that a flag of mappings is given as JSON, its scalars as text, as those of files are."""
    try:
        content = _load_json(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError("must be a mapping, as JSON")
    return content


def _is(usual: Any, value: Any, action: argparse.Action) -> bool:
    """Whether ``value``, text as yet, is the ``usual`` one."""
    read: Any = action.type or str
    if not all(isinstance(item, str) for item in (value if isinstance(value, list) else [value or ""])):
        return False
    try:
        return usual == ([read(item) for item in value] if isinstance(value, list) else value and read(value))
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        return False


def word_of(value: Any, where: str) -> str:
    """Return a value as one word; a mapping ``{NAME: {flag: value}}`` is ``NAME,flag=value``.

    Raises :class:`UserError`, which names ``where``, for any other that is no text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((name, flags),) = value.items()
        if isinstance(flags, dict):
            given = {flag: own for flag, own in flags.items() if own is not None}
            return join_word(name, {flag: _items(own, f"{where}: {name}: {flag}") for flag, own in given.items()})
    raise UserError(f"{where} must hold values, or NAME: {{flag: value}} for one with flags of its own")


def _items(value: Any, where: str) -> list[str]:
    return [word_of(item, where) for item in (value if isinstance(value, list) else [value])]


def _read(path: str) -> dict[str, Any]:
    """Return the mapping in a file, its scalars as text, whatever YAML or JSON would take them for; None for null."""
    import yaml

    try:
        text = read_users_text(path)
        content = _load_json(text) if path.endswith(".json") else yaml.load(text, _text_loader())
        json.dumps(content, ensure_ascii=False).encode()
    except DataError as error:
        raise UserError(f"--config {path} {error.problems[0].reason}") from None
    except yaml.MarkedYAMLError as error:  # whose text would repeat the line, which may hold a secret
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise UserError(f"--config {path} cannot be read: {error.problem or error.context}{place}") from None
    except RecursionError:
        raise UserError(f"--config {path} cannot be read: it nests too deeply") from None
    except UnicodeEncodeError:
        raise UserError(f"--config {path} holds half of a surrogate pair, which is no character") from None
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"--config {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"--config {path} must hold a mapping of flags to values")
    return content


def _load_json(text: str) -> Any:
    def as_text(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: as_text(item) for key, item in value.items()}
        if isinstance(value, list):
            return list(map(as_text, value))
        return str(value).lower() if isinstance(value, bool) else value

    return as_text(parse_json(text, parse_int=str, parse_float=str, parse_constant=str))


def _text_loader() -> type:
    """Return a safe YAML loader that leaves numbers, truth values and dates as they are written."""
    import yaml

    class TextLoader(yaml.SafeLoader):
        """Knows text, sequences, mappings and null.

        What an alias stands for is text, since lists of lists of aliases are small files and fill any memory.
        """

        def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
            is_alias = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            if is_alias and not isinstance(node, yaml.ScalarNode):
                raise ValueError("an alias (*) stands for a list or a mapping in it: write it out")
            return node

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            if repeated := repeated_keys([(key.value, None) for key, _ in node.value if key.id == "scalar"]):
                raise RepeatedKeys(repeated)
            return super().construct_mapping(node, deep)

    def as_written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        return loader.construct_scalar(node)

    def number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        text = loader.construct_scalar(node)
        return text.replace(".", "") if text.lower().lstrip("+-") in (".inf", ".nan") else text

    for kind in ("bool", "int", "timestamp"):
        TextLoader.add_constructor(f"tag:yaml.org,2002:{kind}", as_written)
    TextLoader.add_constructor("tag:yaml.org,2002:float", number)
    return TextLoader
