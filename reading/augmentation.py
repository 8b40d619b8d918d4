"""Augmentation: what can be done to a training example, and the registry of it.

In an epoch an example stays as it is or is changed by one of the drawn augmentations, picked at random; those that
are not drawn apply to every example (``reading/augmented_features.py``). An augmentation names the flags that it reads
in a dataclass. Nothing here imports torch or Transformers: command lines are read before them.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import UserError
from runtime.flags import declared, flag, flag_group
from runtime.kiwi import kiwi

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    examples it becomes. ``flags`` is the dataclass of the flags that it reads."""

    question: Callable[[str, random.Random, Material], str] | None = None
    window: Callable[[Mapping[str, Any], Example, random.Random, Material], list[int]] | None = None
    examples: Callable[[Example, random.Random, Material], list[Example]] | None = None
    flags: type | None = None

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
    for token in kiwi("--augment mask_entity").tokenize(question):
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


# ------------------------------------------------------------------------------------------------------ the window


def mask_context(window: Mapping[str, Any], example: Example, rng: random.Random, material: Material) -> list[int]:
    """Return the window's ``input_ids`` with random tokens of the context masked that the question shares.

    Tokens are masked, not text, so that every offset stays true. Punctuation and gold answers are never masked.
    """
    from models.inputs import tokenize

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
        example | dict(passage) | {"id": f"{example['id']} {passage['document_id']}", "answers": _NO_ANSWERS}
        for passage in drawn
    ]


_NO_ANSWERS: dict[str, list] = {"text": [], "answer_start": []}


# ---------------------------------------------------------------------------------------------------- the registry


_DRAWN = declared(
    "augmentation",
    augment_probability=(
        float,
        flag(
            0.5,
            "Chance that the flip or one of the masks changes an example in an epoch; else it stays as it is.",
            above=0,
            at_most=0.9,
        ),
    ),
)


@flag_group("augmentation")
class NegativePassageArguments:
    """Flags of negative_passage."""

    negative_passages_path: list[str] | None = flag(
        None,
        "Tables of passages for the training questions (.csv, .parquet), as retrieve.py --split train --write csv "
        "writes them.",
    )
    negative_passages: int = flag(
        1,
        "Passages without the answer drawn for each question in each epoch, from its rows in the tables.",
        at_least=1,
        at_most=1_000,
    )

    def contradictions(self: Any) -> Iterator[str]:  # of a command, with --augment
        """Yield what is missing."""
        if "negative_passage" in names_in(self.augment) and not self.negative_passages_path:
            yield (
                "--augment negative_passage needs --negative_passages_path: the table of passages that python "
                "retrieve.py --split train --write csv writes"
            )


AUGMENTATIONS = {
    "random_flip": Augmentation(question=random_flip, flags=_DRAWN),
    "mask_word": Augmentation(question=mask_word, flags=_DRAWN),
    "mask_entity": Augmentation(question=mask_entity, flags=_DRAWN),
    "mask_context": Augmentation(window=mask_context, flags=_DRAWN),
    "multiple_answers": Augmentation(examples=multiple_answers),
    "negative_passage": Augmentation(examples=negative_passage, flags=NegativePassageArguments),
    "title_prefix": Augmentation(),  # of the features, in evaluation and inference too: see reading/titles.py
}


def names_in(augment: str | None) -> list[str]:
    """Return the names in ``--augment``, whatever they are, without blanks around them."""
    return [name.strip() for name in (augment or "").split(",") if name.strip()]


def augmentation_names(augment: str | None) -> list[str]:
    """Return the names in ``--augment``, in the order of the registry; :class:`UserError` for an unknown one."""
    given = set(names_in(augment))
    if unknown := sorted(given - set(AUGMENTATIONS)):
        raise UserError(f"--augment {unknown[0]} is not an augmentation; choose from: {', '.join(AUGMENTATIONS)}")
    return [name for name in AUGMENTATIONS if name in given]
