"""How right an answer is: the published definitions of KorQuAD 1.0, SQuAD and KLUE-MRC, computed locally.

Each definition has an exact match and a softer overlap, both between 0 and 1; an example scores the best over its
gold answers. A question without gold answers is unanswerable: its gold answer is the empty text. Beyond the published
definitions, what looks the same is the same answer: texts are composed (NFC) and lose what cannot be seen.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from runtime.errors import UserError
from runtime.statistics import percent
from runtime.text import seen_text

if TYPE_CHECKING:
    import datasets
    from transformers import EvalPrediction

_DELETE_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))
# Quotes and brackets part words, so they become spaces before the rest of the punctuation is deleted.
_DELETE_PUNCTUATION_KOREAN = _DELETE_PUNCTUATION | dict.fromkeys(map(ord, "'\"《》<>〈〉()‘’"), " ")
_ENGLISH_ARTICLE = re.compile(r"\b(a|an|the)\b")


def normalize_korean(text: str) -> str:
    """Blank ' " 《 》 < > 〈 〉 ( ) ‘ ’, lower-case, delete the other ASCII punctuation, collapse white space.

    Source: the official ``evaluate-korquad_v1.0.py``, https://korquad.github.io/KorQuad%201.0/. KLUE-MRC's baseline
    means the same, but its regular expression closes the character class after 〉 and so matches none of these
    characters alone; ours does what is meant, so answers with brackets or quotes can score otherwise than there.
    """
    return " ".join(seen_text(text).lower().translate(_DELETE_PUNCTUATION_KOREAN).split())


def normalize_squad(text: str) -> str:
    """Lower-case, delete ASCII punctuation, drop the articles a, an and the, collapse white space.

    Source: the official SQuAD evaluation (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250).
    """
    return " ".join(_ENGLISH_ARTICLE.sub(" ", seen_text(text).lower().translate(_DELETE_PUNCTUATION)).split())


def korquad_f1(prediction: str, gold: str) -> float:
    """F1 over the characters, white space left out, of the two normalised texts; no common character gives 0.

    Source: Lim et al. 2019, https://arxiv.org/abs/1909.07005. KorQuAD 1.0 has no unanswerable questions; for an empty
    ``gold`` this follows SQuAD 2.0: 1 if the prediction is empty too.
    """
    prediction = normalize_korean(prediction).replace(" ", "")
    if not gold:
        return float(not prediction)
    return _multiset_f1(prediction, normalize_korean(gold).replace(" ", ""))


def squad_f1(prediction: str, gold: str) -> float:
    """F1 over the words of the two normalised texts; when one has no words, 1 only if neither has.

    Source: SQuAD 2.0 (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822).
    """
    prediction_words, gold_words = normalize_squad(prediction).split(), normalize_squad(gold).split()
    if not gold_words:
        return float(not prediction_words)
    return _multiset_f1(prediction_words, gold_words)


def klue_rouge_w(prediction: str, gold: str) -> float:
    """F1 of the longest run of characters that the two normalised texts share, spaces included.

    With a run of r characters, precision is r / len(prediction) and recall r / len(gold). An empty gold text gives 1
    only to an empty prediction. Source: ROUGE-W with beta 1 as KLUE-MRC's baseline computes it
    (Park et al. 2021, https://arxiv.org/abs/2105.09680); it is not the weighted subsequence of Lin 2004.
    """
    prediction, gold = normalize_korean(prediction), normalize_korean(gold)
    if not gold:
        return float(not prediction)
    run = SequenceMatcher(None, prediction, gold, autojunk=False).find_longest_match().size
    return 2 * run / (len(prediction) + len(gold))


def _multiset_f1(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """2 |prediction ∩ gold| / (|prediction| + |gold|), repeated items counted: the harmonic mean of P and R."""
    common = sum((Counter(prediction) & Counter(gold)).values())
    return 2 * common / (len(prediction) + len(gold)) if common else 0.0


class Metric(NamedTuple):
    """One published definition of how right an answer is."""

    normalize: Callable[[str], str]
    overlap: Callable[[str, str], float]
    overlap_name: str

    def exact_match(self, prediction: str, gold: str) -> float:
        """1 if the two normalised texts are equal, spaces included, else 0."""
        return float(self.normalize(prediction) == self.normalize(gold))


METRICS = {
    "korquad": Metric(normalize_korean, korquad_f1, "f1"),
    "squad": Metric(normalize_squad, squad_f1, "f1"),
    "klue": Metric(normalize_korean, klue_rouge_w, "rouge_w"),
}


class ExampleScores(NamedTuple):
    """Scores between 0 and 1 of every example, in the order of the references."""

    exact_match: np.ndarray  # (examples,)
    overlap: np.ndarray  # (examples,)


def references_of(examples: datasets.Dataset) -> dict[str, list[str]]:
    """Map each example's id to the texts of its gold answers; an empty list is an unanswerable question."""
    return {row["id"]: list(row["answers"]["text"]) for row in examples.select_columns(["id", "answers"])}


def score_examples(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], metric: str
) -> ExampleScores:
    """Score each example by the best over its gold answers; one without a prediction scores 0.

    ``metric`` is a key of :data:`METRICS`. Predictions for ids without a reference do not count.
    Raises :class:`UserError` when there are no references.
    """
    if not references:
        raise UserError("there are no questions to score")
    definition = METRICS[metric]
    scores = np.zeros((2, len(references)))
    for column, (example_id, golds) in enumerate(references.items()):
        if example_id in predictions:
            scores[:, column] = [
                max(score(predictions[example_id], gold) for gold in golds or [""])
                for score in (definition.exact_match, definition.overlap)
            ]
    return ExampleScores(*scores)


def mean_scores(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return every definition's means in percent.

    Keys: ``exact_match``, ``f1`` (KorQuAD's), ``squad_exact_match``, ``squad_f1``, ``klue_exact_match``,
    ``klue_rouge_w``. Raises :class:`UserError` when there are no references.
    """
    figures = {}
    for name, definition in METRICS.items():
        scores = score_examples(predictions, references, name)
        prefix = "" if name == "korquad" else f"{name}_"
        figures[f"{prefix}exact_match"] = percent(scores.exact_match)
        figures[f"{prefix}{definition.overlap_name}"] = percent(scores.overlap)
    return figures


def compute_metrics(answers: EvalPrediction) -> dict[str, float]:
    """Return :func:`mean_scores` of what ``QAProcessor.post_processing_function`` returns."""
    found: Any = answers.predictions
    gold: Any = answers.label_ids
    predictions = {row["id"]: row["prediction_text"] for row in found}
    return mean_scores(predictions, {row["id"]: row["answers"]["text"] for row in gold})
