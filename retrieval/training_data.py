"""The data that retrieval models are trained on, as the flags name them: questions, a corpus, hard negatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from loading.arguments import DataArguments, TrainingDataArguments
from loading.corpus import Corpus, find_corpus
from loading.dpr_json import find_dpr_json
from loading.questions import load_questions
from loading.retrieval_examples import RetrievalExample, wrong_passages
from loading.teacher_scores import read_teacher_scores
from models.sentence_transformers_format import is_multi_vector
from models.token_encoder import token_encoder_folder
from retrieval.base import Retriever
from retrieval.bm25 import BM25Arguments, SparseRetrieval_BM25P
from retrieval.dense import DenseArguments, DenseRetrieval
from retrieval.finding import as_passages, load_passages
from retrieval.metrics import GoldPassages
from retrieval.mining import with_hard_negatives
from retrieval.multi_vector import MultiVectorArguments, MultiVectorRetrieval
from retrieval.training import corpus_passages, with_gold_passages
from runtime.errors import DataError, UserError
from runtime.flags import part_of
from runtime.identifiers import as_cell
from runtime.log import get_logger

logger = get_logger(__name__)


def load_dpr_questions(dataset: TrainingDataArguments) -> tuple[list[RetrievalExample], list[RetrievalExample]]:
    """Return the questions to train on and to evaluate on, the latter empty where the data has none.

    Raises :class:`UserError` and :class:`DataError` as :func:`loading.questions.load_questions` does.
    """
    try:
        train_examples, eval_examples = load_questions(dataset, evaluate=True)
        reason = "--concat_eval trains on the validation questions"
    except DataError:
        raise
    except UserError as error:
        if dataset.concat_eval or dataset.test_eval_dataset_path is not None:
            raise
        train_examples, eval_examples = load_questions(dataset, evaluate=False)
        reason = str(error)
    if not eval_examples:
        logger.warning("nothing is evaluated, the last encoders are kept: %s", reason)
    return train_examples, eval_examples


def choose_corpus(args: Any, examples: Sequence[RetrievalExample], default_tokenizer: str) -> Corpus:
    """Return the corpus in ``context_path``, else that of the data set, else the passages of ``examples``.

    ``args`` are those of train_dpr.py; ``default_tokenizer`` serves ``--chunk tokens``.
    """
    path: str | Path | None = args.context_path
    if path is None and not _brings_negatives(args):
        try:
            path = find_corpus(args.dataset_path)
        except UserError:
            logger.info("no corpus is given or found: the passages of the training questions are the corpus")
    if path is not None:
        return load_passages(args, path, args.skip_bad_rows, default_tokenizer)
    passages = (passage for example in examples for passage in (*example.positives, *example.negatives))
    return as_passages(with_gold_passages(Corpus([], [], []), passages)[0], args, default_tokenizer)


def with_positives_of(corpus: Corpus, examples: list[RetrievalExample]) -> list[RetrievalExample]:
    """Return ``examples``, their positives those chunks of ``corpus`` that they are cut into and that hold an answer.

    What the corpus does not hold, and everything where it is not in chunks, stays as it is.
    """
    if corpus.starts is None:
        return examples
    columns = {
        "document_id": [as_cell([one.passage_id for one in row.positives if one.passage_id]) for row in examples],
        "context": [row.positive.text for row in examples],
        "answers": [{"text": row.answers} for row in examples],
    }
    golds = GoldPassages(Dataset.from_dict(columns), corpus)
    passages = corpus_passages(corpus)
    chunks = [[passages[row] for row in rows] for rows in golds.rows]
    return [
        row._replace(positive=found[0], other_positives=tuple(found[1:])) if found else row
        for row, found in zip(examples, chunks, strict=True)
    ]


def add_negatives(
    examples: list[RetrievalExample], corpus: Corpus, args: Any, default_tokenizer: str
) -> tuple[list[RetrievalExample], dict[str, dict[str, float]]]:
    """Return ``examples`` with hard negatives, and what a teacher says of their passages, if there is one.

    Negatives are those that the teacher scored, else their own and those that --mine_from finds. Its scores are by id
    and by what makes a text the same. ``args`` are those of train_dpr.py; ``default_tokenizer`` serves ``--analyzer
    wordpiece``.
    """
    if args.distil_from is not None:
        return with_taught_negatives(examples, args.distil_from, "--distil_from")
    return _with_mined(examples, corpus, args, default_tokenizer), {}


def _with_mined(
    examples: list[RetrievalExample], corpus: Corpus, args: Any, default_tokenizer: str
) -> list[RetrievalExample]:
    if args.hard_negatives == 0 or (args.context_path is None and _brings_negatives(args)):
        return examples
    miner: Retriever
    if args.mine_from == "dense":
        start = {"retriever_dir": args.dpr_model, "encode_batch_size": args.dpr_eval_batch}
        if args.interaction == "multi" and is_multi_vector(token_encoder_folder(args.dpr_model)):
            miner = MultiVectorRetrieval.from_arguments(part_of(args, MultiVectorArguments, **start), default_tokenizer)
        else:
            miner = DenseRetrieval.from_arguments(part_of(args, DenseArguments, **start), default_tokenizer)
    else:
        miner = SparseRetrieval_BM25P.from_arguments(part_of(args, BM25Arguments), default_tokenizer)
    return with_hard_negatives(examples, corpus, miner, args, args.index_dir)


def with_taught_negatives(
    examples: list[RetrievalExample], path: str | None, flag: str
) -> tuple[list[RetrievalExample], dict[str, dict[str, float]]]:
    """Return ``examples`` with the wrong passages among those that a teacher scored in ``path``, and its scores, by id
    and by what makes a text the same.

    A question without scores stays as it is, and without a file all. Raises :class:`DataError` for a damaged file, and
    :class:`UserError` where it holds other questions alone.
    """
    if path is None:
        return examples, {}
    read = read_teacher_scores(path)
    found = {row.id: read[row.id] for row in examples if row.id in read and read[row.id].question == row.question}
    if not found:
        raise UserError(
            f"{flag} {path} scores none of the {len(examples)} training questions: write it with "
            "retrieve.py --write scores --split train over the same --dataset_path"
        )
    if missing := len(examples) - len(found):
        logger.warning("%s %s: %d of %d questions have no scores", flag, path, missing, len(examples))
    taught = [
        row._replace(negatives=wrong_passages(row, found[row.id].passages)) if row.id in found else row
        for row in examples
    ]
    return taught, {name: scores.by_text for name, scores in found.items()}


def _brings_negatives(dataset: DataArguments) -> bool:
    """Whether the data set is DPR JSON, which needs no corpus and is not mined without one."""
    return find_dpr_json(dataset.dataset_path, "train") is not None
