"""The flags of its own that a retriever in one word has (see ``runtime/one_word.py``).

``SparseRetrieval_BM25P,analyzer=mecab,bm25_b=0.4`` is what ``--retriever_type SparseRetrieval_BM25P --analyzer mecab
--bm25_b 0.4`` is, so that one command line can hold several retrievers.
"""

from __future__ import annotations

import typing
from typing import Any, TypeVar

from runtime.command_line import FlagError, read_arguments
from runtime.errors import UserError
from runtime.flags import fields_by_name, part_of
from runtime.one_word import items_of, split_word, unquoted

_Arguments = TypeVar("_Arguments")


def arguments_of(spec: str, arguments: Any, group: type[_Arguments]) -> _Arguments:
    """Return ``group`` filled from ``arguments`` with the retriever and the flags of ``spec``, checked as flags are.

    Raises :class:`UserError` naming ``spec`` and every flag in it that is unknown, out of range, or not read by this
    retriever.
    """
    secret = "@" in spec or "?" in spec  # credentials may be in it, which are not repeated
    name = spec.split(",")[0]
    shown = name if secret else spec
    try:
        word = split_word(spec)
    except ValueError as error:
        unclear = "" if secret else f"{str(error)!r} is not flag=value; "
        raise UserError(f"{shown}: {unclear}a retriever is NAME,flag=value,flag=value") from None
    if "retriever_type" in word.flags:
        raise UserError(f"{shown}: the name at its beginning is the retriever's type")
    base = part_of(arguments, group, retriever_type=word.name)
    if not word.flags:
        return base
    words: list[str] = []
    lists = _lists(group)
    for flag, value in word.flags.items():
        words += [f"--{flag}", *items_of(value)] if flag in lists else [f"--{flag}={unquoted(value)}"]
    try:
        return read_arguments(group, words, {key: getattr(base, key) for key in fields_by_name(group)}, word.name)
    except FlagError as error:
        raise UserError(f"{shown}: {error}") from None


def own_flags(spec: str, group: type) -> dict[str, Any]:
    """Return the values in ``spec`` of flags of ``group``, as text or lists of it; none of a spec that is unclear."""
    try:
        flags = split_word(spec).flags
    except ValueError:
        return {}
    known, lists = fields_by_name(group), _lists(group)
    return {
        flag: items_of(value) if flag in lists else unquoted(value) for flag, value in flags.items() if flag in known
    }


def _lists(group: type) -> frozenset[str]:
    """Return the flags of ``group`` that take several values."""
    hints = typing.get_type_hints(group)
    return frozenset(
        name
        for name, hint in hints.items()
        if any(typing.get_origin(kind) is list for kind in (hint, *typing.get_args(hint)))
    )
