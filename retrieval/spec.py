"""A retriever in one word: ``NAME``, or ``NAME,flag=value,flag=value`` with flags of its own.

``SparseRetrieval_BM25P,analyzer=mecab,bm25_b=0.4`` is what ``--retriever_type SparseRetrieval_BM25P --analyzer mecab
--bm25_b 0.4`` is, so that one command line can hold several retrievers. Items of a list stand between plus signs:
``HybridRetrieval,hybrid_retrievers=SparseRetrieval_BM25P+DenseRetrieval,fusion_weights=0.4+0.6``.
"""

from __future__ import annotations

import dataclasses
import typing

from arguments import FlagError, RetrieverArguments, read_arguments
from runtime.errors import UserError

_TYPES = typing.get_type_hints(RetrieverArguments)


def arguments_of(spec: str, arguments: RetrieverArguments) -> RetrieverArguments:
    """Return ``arguments`` with the retriever and the flags of ``spec``, read and checked as on the command line.

    Raises :class:`UserError` naming ``spec`` and every flag in it that is unknown, out of range, or not read by this
    retriever.
    """
    name, *pairs = spec.split(",")
    secret = "@" in spec or "?" in spec  # credentials may be in it, which are not repeated
    shown = name if secret else spec
    words = []
    for pair in pairs:
        flag, equals, value = pair.partition("=")
        if not flag or not equals:
            unclear = "" if secret else f"{pair!r} is not flag=value; "
            raise UserError(f"{shown}: {unclear}a retriever is NAME,flag=value,flag=value")
        if flag == "retriever_type":
            raise UserError(f"{shown}: the name at its beginning is the retriever's type")
        words += [f"--{flag}", *value.split("+")] if _is_list(flag) else [f"--{flag}={value}"]
    base = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(RetrieverArguments)}
    base["retriever_type"] = name
    if not words:
        return RetrieverArguments(**base)
    try:
        (filled,) = read_arguments(name, [RetrieverArguments], words, defaults=base)
    except FlagError as error:
        raise UserError(f"{shown}: {error}") from None
    return filled


def _is_list(flag: str) -> bool:
    return any(typing.get_origin(hint) is list for hint in (_TYPES.get(flag), *typing.get_args(_TYPES.get(flag))))
