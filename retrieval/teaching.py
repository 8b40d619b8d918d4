"""What a teacher thinks of passages: gathered by retrieving, learnt by a student.

A student learns what its teacher, a larger cross-encoder say, thinks of each passage of a question, where a label only
says which passage is right (Hofstätter et al. 2020, Improving Efficient Neural Ranking Models with Cross-Architecture
Knowledge Distillation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from loading.teacher_scores import TeacherScores
from models.cross_encoder import CrossEncoder, Pair, load_cross_encoder
from retrieval.base import Retriever, SearchResults
from retrieval.comparison import Questions, training_examples
from retrieval.multi_vector import CandidatesByTokens
from retrieval.rerank import RerankedRetrieval
from retrieval.training import TrainingQuestions, corpus_passages
from runtime.output import find_model
from runtime.progress import progress_bar
from runtime.text import comparable

# Gives the scores (pairs,) of all pairs of groups, one after the other; nan for those that it does not know. The first
# argument are the ids of the groups' questions.
Teacher = Callable[[Sequence[str], Sequence[Sequence[Pair]]], torch.Tensor]


def taught_scores(
    retriever: Retriever, results: SearchResults, questions: Questions
) -> Iterator[tuple[str, TeacherScores]]:
    """Yield the id of every question, and the passages that ``retriever`` found for it with their scores.

    Of what is re-ordered those alone that were scored for it; and a reranker reads the right passage, if that is known
    and was not found: the student needs the teacher's opinion of it.
    """
    depth = retriever.depth if isinstance(retriever, RerankedRetrieval | CandidatesByTokens) else results.ids.shape[1]
    passages = corpus_passages(questions.corpus)
    scored = {
        row["id"]: TeacherScores(row["question"], [passages[index] for index in ids], scores)
        for row, ids, scores in zip(
            questions.examples, results.ids[:, :depth].tolist(), results.scores[:, :depth].tolist(), strict=True
        )
    }
    if isinstance(retriever, RerankedRetrieval):
        missed = [
            (example.id, example.positive)
            for example in training_examples(results, questions)
            if comparable(example.positive.text) not in scored[example.id].by_text
        ]
        pairs = [Pair(scored[name].question, passage.title, passage.text) for name, passage in missed]
        with progress_bar(total=len(pairs), desc="Score right passages", unit="pair", delay=1) as bar:
            scores = retriever.reranker.score(pairs, bar.update).tolist()  # (pairs,)
        for (name, passage), score in zip(missed, scores, strict=True):
            scored[name].passages.append(passage)
            scored[name].scores.append(score)
    yield from scored.items()


def teacher_of(arguments: Any, written: Mapping[str, Mapping[str, float]], precision: str) -> Teacher | None:
    """Return the teacher that the flags of train_reranker.py name; None where a label is all there is.

    ``written`` are the scores of ``--teacher_scores``, by the question's id and by what makes a text the same. Raises
    :class:`UserError` for a ``--teacher`` that is no cross-encoder.
    """
    if written:
        return lambda ids, groups: torch.tensor(
            [
                written.get(name, {}).get(comparable(pair.text), torch.nan)
                for name, group in zip(ids, groups, strict=True)
                for pair in group
            ]
        )
    if arguments.teacher is None:
        return None
    model: CrossEncoder = load_cross_encoder(find_model(arguments.teacher))
    return lambda ids, groups: torch.from_numpy(
        model.score([pair for group in groups for pair in group], precision=precision)
    )


def draw_pairs(questions: TrainingQuestions, rows: Sequence[int], epoch: int) -> list[list[Pair]]:
    """Return each of the questions ``rows`` with its passages of the epoch, the right one first."""
    return [
        [Pair(questions.examples[row].question, passage.title, passage.text) for passage in questions.draw(row, epoch)]
        for row in rows
    ]
