"""Augmentation: training examples that differ from epoch to epoch.

In an epoch an example stays as it is or is changed by one of the drawn augmentations, picked at random; those that
are not drawn apply to every example. What an epoch holds is a function of the seed and the epoch alone, so that a
killed run goes on with the same data.
"""

from __future__ import annotations

import copy
import random
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import pandas as pd
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from transformers import AddedToken, PreTrainedTokenizerBase

from loading.examples import example_features
from models.inputs import tokenize
from runtime.errors import UserError
from runtime.log import get_logger
from runtime.progress import map_bar
from runtime.text import answer_in_passage, comparable, is_blank

logger = get_logger(__name__)

Example = dict[str, Any]

# Half of what makes a question and its passage look alike is left; of the words of a question, as many are masked as
# when encoders are pretrained (Devlin et al. 2019, section 3.1), so that it can still be understood.
_MASKED_ENTITIES = _MASKED_CONTEXT = 0.5
_MASKED_WORDS = 0.15

# A clause may end with a comma after a particle or an ending (after a noun it may be a list), or with an ending that
# few nouns share. What follows the blank must not belong to the verb, as in 하고 있는.
_BEFORE_COMMA = "[에서로은는을를고며면만데때후뒤중전]"
_PAST = "".join(chr(0xAC00 + 28 * index + 20) for index in range(399))  # syllables that end in ㅆ: 했, 었, 있, …
_ENDINGS = f"며|면서|지만|[는은인던]데|으나|[으하되다]면|니까|자마자|하여|[해어아여]서|[하되받않없맡{_PAST}]고"
_CLAUSE_END = re.compile(f"({_BEFORE_COMMA},|({_ENDINGS}),?) (?![있싶계])")
_OPENING, _CLOSING = "([{<《〈「『“‘", ")]}>》〉」』”’"
_ENTITY_TAGS = {"NNP", "NR", "SN"}
# The mask token of a question as text; a mask token that somebody spells is text and stays so.
MASKED = "\ue000mask\ue001"


class Material(NamedTuple):
    """What augmentations draw on besides the example: the tokenizer, and passages without answer per question id."""

    tokenizer: PreTrainedTokenizerBase
    negatives: Mapping[str, Sequence[Mapping[str, str]]]
    negative_passages: int


class Augmentation(NamedTuple):
    """What an augmentation changes: the question or a window of a drawn example, or, for every example, which
    examples it becomes."""

    question: Callable[[str, random.Random, Material], str] | None = None
    window: Callable[[Mapping[str, Any], Example, random.Random, Material], list[int]] | None = None
    examples: Callable[[Example, random.Random, Material], list[Example]] | None = None

    @property
    def drawn(self) -> bool:
        """Whether it applies only to the examples that are drawn for it."""
        return self.question is not None or self.window is not None


# ---------------------------------------------------------------------------------------------------- the question


def random_flip(question: str, rng: random.Random, material: Material) -> str:
    """Let the clauses change places, since Korean word order is free; a question with one clause stays as it is.

    Each clause is left whole, the last with its question mark: ``1418년에 왕이 되었고, 글자를 만든 사람은?`` becomes
    ``글자를 만든 사람은? 1418년에 왕이 되었고``.
    """
    clauses = split_clauses(question)
    if len(clauses) < 2:
        return question
    order = list(range(len(clauses)))
    while order == sorted(order):
        rng.shuffle(order)
    return " ".join(clauses[index] for index in order).rstrip(",")


def split_clauses(question: str) -> list[str]:
    """Split after connective endings and commas; a clause has two words or more and whole brackets and quotations."""
    clauses: list[list[str]] = [[]]
    for word in question.split():
        clause = clauses[-1]
        if len(clause) >= 2 and _CLAUSE_END.search(f"{clause[-1]} {word}") and _is_balanced(" ".join(clause)):
            clauses.append([])
        clauses[-1].append(word)
    if len(clauses) > 1 and len(clauses[-1]) < 2:
        last = clauses.pop()
        clauses[-1] += last
    return [" ".join(clause) for clause in clauses]


def _is_balanced(text: str) -> bool:
    pairs = zip(_OPENING, _CLOSING, strict=True)
    return all(text.count(left) == text.count(right) for left, right in pairs) and not any(
        text.count(mark) % 2 for mark in "\"'"
    )


def mask_word(question: str, rng: random.Random, material: Material) -> str:
    """Put :data:`MASKED` in place of random words."""
    words = [match.span() for match in re.finditer(r"\w+", question)]
    return _mask(question, _some(words, _MASKED_WORDS, rng), material)


def mask_entity(question: str, rng: random.Random, material: Material) -> str:
    """Put :data:`MASKED` in place of random proper nouns and numbers, as Kiwi finds them."""
    question = unicodedata.normalize("NFC", question)  # Kiwi takes loose jamo for unknown words
    entities: list[tuple[int, int]] = []
    for token in _kiwi().tokenize(question):
        if token.tag not in _ENTITY_TAGS or token.form == "몇":  # how many: it asks
            continue
        start, end = token.start, token.start + token.len
        if entities and entities[-1][1] == start:
            start = entities.pop()[0]
        entities.append((start, end))
    return _mask(question, _some(entities, _MASKED_ENTITIES, rng), material)


def _some(items: Sequence[Any], share: float, rng: random.Random) -> list[Any]:
    """Return a random ``share`` of ``items``, at least one if there is any."""
    return rng.sample(items, min(len(items), max(1, round(share * len(items)))))


def _mask(text: str, spans: Sequence[tuple[int, int]], material: Material) -> str:
    for start, end in sorted(spans, reverse=True):
        text = f"{text[:start]}{MASKED}{text[end:]}"
    return text


@cache
def _kiwi() -> Any:
    try:
        from kiwipiepy import Kiwi
    except ImportError:
        raise UserError("--augment mask_entity needs kiwipiepy: pip install kiwipiepy") from None
    return Kiwi(num_workers=1)


# ------------------------------------------------------------------------------------------------------ the window


def mask_context(window: Mapping[str, Any], example: Example, rng: random.Random, material: Material) -> list[int]:
    """Return the window's ``input_ids`` with random tokens of the context masked that the question shares.

    Tokens are masked, not text, so that every offset stays true. Punctuation and gold answers are never masked.
    """
    tokenizer, answers = material.tokenizer, example["answers"]
    shared = set(tokenize(tokenizer, [example["question"]], add_special_tokens=False)["input_ids"][0])
    shared.discard(tokenizer.unk_token_id)
    shared = {token for token in shared if any(map(str.isalnum, tokenizer.convert_ids_to_tokens(token)))}
    golds = [(start, start + len(text)) for start, text in zip(answers["answer_start"], answers["text"], strict=True)]
    positions = [
        position
        for position, (token, span) in enumerate(zip(window["input_ids"], window["offset_mapping"], strict=True))
        if span and token in shared and not any(span[0] < end and start < span[1] for start, end in golds)
    ]
    input_ids = list(window["input_ids"])
    for position in _some(positions, _MASKED_CONTEXT, rng):
        input_ids[position] = tokenizer.mask_token_id
    return input_ids


# ---------------------------------------------------------------------------------------------------- the examples


def multiple_answers(example: Example, rng: random.Random, material: Material) -> list[Example]:
    """Let every occurrence of a gold answer in the context be a gold answer; the given ones stay first.

    A piece of a longer number or Latin word is no occurrence.
    """
    answers = example["answers"]
    spans = dict.fromkeys(zip(answers["text"], answers["answer_start"], strict=True))
    for text in dict.fromkeys(answers["text"]):
        before, after = (r"\b" if edge.isascii() and edge.isalnum() else "" for edge in (text[0], text[-1]))
        # ASCII: a Hangul syllable beside a number ends it
        for match in re.finditer(f"{before}{re.escape(text)}{after}", example["context"], re.ASCII):
            spans.setdefault((text, match.start()))
    texts, starts = zip(*spans, strict=True) if spans else ((), ())
    return [example | {"answers": {"text": list(texts), "answer_start": list(starts)}}]


def negative_passage(example: Example, rng: random.Random, material: Material) -> list[Example]:
    """Add the question with random retrieved passages that do not answer it; the label of their windows is [CLS]."""
    passages = material.negatives.get(example["id"], ())
    drawn = rng.sample(passages, min(len(passages), material.negative_passages))
    return [example] + [
        example | passage | {"id": f"{example['id']} {passage['document_id']}", "answers": _NO_ANSWERS}
        for passage in drawn
    ]


_NO_ANSWERS: dict[str, list] = {"text": [], "answer_start": []}


def answer_free(examples: Dataset, retrieved: pd.DataFrame) -> dict[str, list[dict[str, str]]]:
    """Return per question id those of its retrieved passages (see ``retrieval/table.py``) that hold no gold answer.

    Neither in the title nor in the text (see :func:`runtime.text.answer_in_passage`); what says the same comes once. A
    question without gold answer gets none, since nobody knows what would answer it.
    """
    golds: dict[str, list[str]] = {}
    for example in examples:  # train and validation together may use an id twice
        golds.setdefault(example["id"], []).extend(text for text in example["answers"]["text"] if not is_blank(text))
    free: dict[str, list[dict[str, str]]] = {}
    taken: set[tuple[str, str]] = set()
    columns = retrieved[["id", "document_id", "title", "context"]]
    for question, document_id, title, context in columns.itertuples(index=False):
        answers = golds.get(question)
        key = (question, comparable(context))
        if answers and key not in taken and not answer_in_passage(answers, title, context):
            taken.add(key)
            passage = {"document_id": document_id, "title": title, "context": context}
            free.setdefault(question, []).append(passage)
    logger.info("%d of %d questions have retrieved passages without their answer", len(free), len(golds))
    return free


# ---------------------------------------------------------------------------------------------------- the registry

AUGMENTATIONS = {
    "random_flip": Augmentation(question=random_flip),
    "mask_word": Augmentation(question=mask_word),
    "mask_entity": Augmentation(question=mask_entity),
    "mask_context": Augmentation(window=mask_context),
    "multiple_answers": Augmentation(examples=multiple_answers),
    "negative_passage": Augmentation(examples=negative_passage),
    "title_prefix": Augmentation(),  # of the features, in evaluation and inference too: see reading/titles.py
}


def augmentation_names(augment: str | None) -> list[str]:
    """Return the names in ``--augment``, in the order of the registry; :class:`UserError` for an unknown one."""
    given = {name.strip() for name in (augment or "").split(",")} - {""}
    if unknown := sorted(given - set(AUGMENTATIONS)):
        raise UserError(f"--augment {unknown[0]} is not an augmentation; choose from: {', '.join(AUGMENTATIONS)}")
    return [name for name in AUGMENTATIONS if name in given]


def _knowing_masked(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return a copy of ``tokenizer`` that cuts out :data:`MASKED` as it does its mask token."""
    mask = tokenizer.added_tokens_decoder.get(tokenizer.mask_token_id, AddedToken(tokenizer.mask_token))
    sides = {"lstrip": mask.lstrip, "rstrip": mask.rstrip, "single_word": mask.single_word}
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens([AddedToken(MASKED, normalized=False, special=False, **sides)])
    return tokenizer


class AugmentedFeatures:
    """The training features of one epoch, as a dataset for a ``DataLoader``; :meth:`set_epoch` draws them anew.

    Every epoch has as many features as epoch 0, so that it has as many optimizer steps: of more windows a random
    choice is left out, of fewer a random choice comes twice. Their ``example_index`` is the row of the example that
    was changed. ``build(examples, what, tokenizer)`` turns examples into
    features, ``probability`` is the chance that an example is changed by a drawn augmentation.
    """

    def __init__(
        self,
        examples: Dataset,
        build: Callable[[Dataset, str, PreTrainedTokenizerBase], Dataset],
        names: Sequence[str],
        probability: float,
        material: Material,
        seed: int,
    ) -> None:
        masks = [name for name in names if name.startswith("mask_")]
        if masks and material.tokenizer.mask_token is None:
            raise UserError(f"--augment {masks[0]} needs a tokenizer with a mask token, which this one has not")
        self._tokenizer = _knowing_masked(material.tokenizer) if masks else material.tokenizer
        self._originals = list(examples)
        self._build = build
        self._drawn = [name for name in names if AUGMENTATIONS[name].drawn]
        self._always = [name for name in names if AUGMENTATIONS[name].examples]
        self._probability = probability
        self._material = material
        self._seed = seed
        self.epoch: int | None = None
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Hold the features of ``epoch``."""
        if epoch == self.epoch:
            return
        changed = [self._change(example, epoch) for example in self._originals]
        examples = [example for examples in changed for example in examples]
        originals = [row for row, examples in enumerate(changed) for _ in examples]
        rows = Dataset.from_list(examples, example_features())
        features = self._build(rows, f"features of epoch {epoch}", self._tokenizer)
        if self._tokenizer is not self._material.tokenizer:
            features = self._mask_windows(features, examples, epoch)
        example_index = [originals[index] for index in features["example_index"]]
        features = features.remove_columns(["offset_mapping", "example_index"])  # the former is half of the memory
        features = features.add_column("example_index", example_index, new_fingerprint=generate_random_fingerprint())
        rows, size = range(len(features)), len(features) if self.epoch is None else len(self)
        rng = self._rng(epoch)
        rows = rng.sample(rows, size) if len(rows) > size else [*rows, *rng.choices(rows, k=size - len(rows))]
        self._features, self.epoch = features.select(sorted(rows)), epoch

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, key: int | str) -> Any:
        return self._features[key]

    def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
        return self._features.__getitems__(rows)

    def _rng(self, *key: Any) -> random.Random:
        return random.Random(" ".join(map(str, (self._seed, *key))))  # a text seeds alike in every process

    def _draw(self, epoch: int, example: Example) -> tuple[Augmentation, random.Random]:
        """Return what changes ``example`` in ``epoch``, and the random numbers to do it with."""
        rng = self._rng(epoch, example["id"])
        if not self._drawn or rng.random() >= self._probability:
            return Augmentation(), rng
        return AUGMENTATIONS[rng.choice(self._drawn)], rng

    def _change(self, example: Example, epoch: int) -> list[Example]:
        examples = [example]
        for name in self._always:
            function, rng = AUGMENTATIONS[name].examples, self._rng(epoch, example["id"], name)
            examples = [new for old in examples for new in function(old, rng, self._material)]
        changed = []
        for example in examples:
            augmentation, rng = self._draw(epoch, example)
            if augmentation.question:
                example = example | {"question": augmentation.question(example["question"], rng, self._material)}
            changed.append(example)
        return changed

    def _mask_windows(self, features: Dataset, examples: list[Example], epoch: int) -> Dataset:
        masked_id = self._tokenizer.convert_tokens_to_ids(MASKED)
        mask_id = self._tokenizer.mask_token_id

        def change(window: dict[str, Any]) -> dict[str, Any]:
            example = examples[window["example_index"]]
            window["input_ids"] = [mask_id if token == masked_id else token for token in window["input_ids"]]
            augmentation, rng = self._draw(epoch, example)
            if augmentation.window:
                window["input_ids"] = augmentation.window(window, example, rng, self._material)
            bar.update()
            return window

        with map_bar(len(features), "masking") as bar:
            return features.map(change, keep_in_memory=True, new_fingerprint=generate_random_fingerprint())
