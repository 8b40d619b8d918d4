"""How Korean text becomes the terms that sparse retrievers count.

Every analyser composes its input to NFC, keeps one-syllable words such as 왕, and describes itself, so that an index
made with another analyser is never used by mistake.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any, Protocol

from tqdm.auto import tqdm

from retrieval.base import import_optional
from runtime.errors import UserError

# Nouns, counters and numerals, stems of verbs and adjectives, roots, Latin and Chinese script, digits, web addresses;
# no particles, endings, affixes or punctuation. Pronouns and determiners (누구, 어느) only say that it is a question.
KIWI_TAGS = ["NNG", "NNP", "NNB", "NR", "VV", "VA", "XR", "SL", "SH", "SN", "W"]
_BATCH = 1024


class Analyzer(Protocol):
    """Turns texts into terms."""

    description: dict[str, Any]
    """What the terms depend on, as JSON can hold it."""

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the terms of every text, in order and with repetitions."""


def normalize(text: str) -> str:
    """Return ``text`` composed (NFC) and in lower case."""
    return unicodedata.normalize("NFC", text).lower()


class KiwiAnalyzer:
    """Content words of the Kiwi morphological analyser, as many texts at a time as there are processors."""

    @cached_property
    def description(self) -> dict[str, Any]:
        import_optional("kiwipiepy", "kiwipiepy")
        versions = {package: version(package) for package in ("kiwipiepy", "kiwipiepy_model")}
        return {"name": "kiwi", **versions, "tags": KIWI_TAGS}

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        composed = (unicodedata.normalize("NFC", text) for text in texts)
        return [
            [token.form.lower() for token in tokens if _is_content(token.tag)]
            for tokens in _progress(_kiwi().tokenize(composed), len(texts))
        ]


class WordPieceAnalyzer:
    """Sub-words of any model's fast tokenizer, without special and unknown tokens."""

    def __init__(self, model: str | None) -> None:
        from transformers import AutoTokenizer

        if model is None:
            raise UserError("--analyzer wordpiece needs the folder or name of a model: give --analyzer_model")
        try:
            tokenizer = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise UserError(
                f"--analyzer_model {model} has no tokenizer that can be loaded: {' '.join(str(error).split())}"
            ) from None
        if not tokenizer.is_fast:
            raise UserError(f"--analyzer_model {model} has no fast tokenizer (tokenizer.json): name another model")
        self.unknown = tokenizer.unk_token
        self.tokenizer = tokenizer.backend_tokenizer
        # tokenizer.json may carry the length limit of its model, which would silently drop the ends of passages.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @cached_property
    def description(self) -> dict[str, Any]:
        return {"name": "wordpiece", "tokenizer": hashlib.sha256(self.tokenizer.to_str().encode("utf-8")).hexdigest()}

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        composed = [unicodedata.normalize("NFC", text) for text in texts]
        batches = (composed[start : start + _BATCH] for start in range(0, len(composed), _BATCH))
        encodings = (
            encoding for batch in batches for encoding in self.tokenizer.encode_batch(batch, add_special_tokens=False)
        )
        return [
            [token for token in encoding.tokens if token != self.unknown]
            for encoding in _progress(encodings, len(texts))
        ]


class WhitespaceAnalyzer:
    """Words between white space, particles and punctuation still attached."""

    description = {"name": "whitespace"}  # noqa: RUF012

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        return [normalize(text).split() for text in _progress(texts, len(texts))]


class BigramAnalyzer:
    """Pairs of neighbouring characters inside words (조선왕 → 조선, 선왕); a word of one character is kept as it is."""

    description = {"name": "bigram"}  # noqa: RUF012

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        return [
            [
                word[start : start + 2]
                for word in re.findall(r"\w+", normalize(text))
                for start in range(max(1, len(word) - 1))
            ]
            for text in _progress(texts, len(texts))
        ]


ANALYZERS = {
    "kiwi": KiwiAnalyzer,
    "wordpiece": WordPieceAnalyzer,
    "whitespace": WhitespaceAnalyzer,
    "bigram": BigramAnalyzer,
}


def create_analyzer(name: str, model: str | None = None) -> Analyzer:
    """Return the analyser ``name``; ``model`` is the tokenizer (folder or hub name) of wordpiece."""
    if name not in ANALYZERS:
        raise UserError(f"--analyzer {name} is unknown: choose from {', '.join(ANALYZERS)}")
    return WordPieceAnalyzer(model) if name == "wordpiece" else ANALYZERS[name]()


@cache
def _is_content(tag: str) -> bool:
    return re.split("[-_]", tag)[0] in KIWI_TAGS  # VA-I, an irregular stem, counts as VA; W_URL as W


@cache
def _kiwi() -> Any:
    return import_optional("kiwipiepy", "kiwipiepy").Kiwi(num_workers=os.cpu_count())


def _progress(items: Iterable[Any], total: int) -> tqdm:
    return tqdm(items, "Analyze", total=total, unit="text", delay=1)
