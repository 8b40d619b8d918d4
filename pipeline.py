"""Answers from Python: a reader, and a pipeline that finds the passages to read.

    pipeline = Pipeline.load("saved/quickstart", corpus="data/mini_wiki/wikipedia_documents.json")
    for answer in pipeline.answer(["첨성대는 돌을 몇 단으로 쌓았는가?"], k=10)[0]:
        print(answer.text, answer.probability, answer.title)

``inference.py`` answers data sets and ``ask.py`` single questions with what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
from datasets import Dataset
from transformers import PreTrainedModel

from arguments import DatasetArguments, InferenceArguments, PipelineArguments, part_of
from models import check_length, load_reader, load_tokenizer
from models.loading import load_config
from models.quantized import quantized
from processor import QAProcessor
from reading.answers import Answer, Reading, weigh
from reading.arguments import PassageArguments
from reading.batching import FeatureCollator
from reading.fitting import fit_reading
from reading.logits import read_features
from reading.passages import gold_passages, joined_passages, separate_passages
from reading.reader_settings import as_trained
from retrieval.finding import PassageFinder, load_finder
from retrieval.table import PASSAGES_AT_ONCE, Retrieved
from runtime.ahead import ahead
from runtime.device import default_device, fastest_attention, resolve_precision
from runtime.division import own_share
from runtime.errors import UserError
from runtime.text import is_blank


@dataclass
class FoundAnswer(Answer):
    """An answer with the ``title`` and the text of the ``passage`` it was found in; both empty for "no answer"."""

    title: str
    passage: str


class FoundPassage(NamedTuple):
    """A passage that was found for a question; ranks count from 1."""

    rank: int
    document_id: str
    title: str
    text: str
    score: float


class Reader(NamedTuple):
    """A trained reader and what it needs to read."""

    model: PreTrainedModel
    qa_processor: QAProcessor
    collator: FeatureCollator
    batch_size: int
    precision: str

    @classmethod
    def load(cls, folder: str, **flags: Any) -> Reader:
        """Return the trained reader in ``folder``, or of that hub name, which reads as it was trained.

        ``flags`` are those of :class:`arguments.PipelineArguments`. Raises :class:`UserError` as
        :func:`models.load_reader` does, and for settings that contradict each other.
        """
        args = as_trained(PipelineArguments(model=folder, **flags))
        return cls.from_arguments(args, processor_of(args))

    @classmethod
    def from_arguments(cls, args: PipelineArguments | InferenceArguments, qa_processor: QAProcessor) -> Reader:
        """Return the reader that settled arguments name, with the processor that cuts its texts."""
        device = default_device()
        precision = resolve_precision(args.precision, device)
        attention = fastest_attention(device, 0.0, training=False)
        model = load_reader(args.model, attention=attention, trained=True).to(device)  # type: ignore[arg-type]
        check_length(model, args.max_seq_len)
        padded_to = args.max_seq_len if args.use_max_padding else None
        collator = FeatureCollator(model, qa_processor.tokenizer, padded_to)
        if args.backend == "openvino":
            model = quantized(model, collator.inputs, precision)
        return cls(model, qa_processor, collator, fit_reading(args, model, collator, precision), precision)

    def read(self, question: str, context: str, title: str = "") -> list[Answer]:
        """Return the n best answers to one question in one text, best first; :class:`UserError` if one is blank.

        ``title`` counts for a reader that was trained to read ``title: text``.
        """
        _refuse_blank([question])
        if is_blank(context):
            raise UserError("the context to read is blank: give the text that may hold the answer")
        example = {"id": "0", "question": question, "context": context, "title": title, "document_id": ""}
        examples = gold_passages(Dataset.from_list([example | {"answers": {"text": [], "answer_start": []}}]))
        (readings,) = self.readings([examples])
        return self.weigh(readings)["0"]

    def readings(self, blocks: Iterable[Dataset], what: str = "reading") -> Iterator[dict[str, list[Reading]]]:
        """Yield for every block of reading examples what the reader finds in them, by question id, not yet weighed.

        While it reads one block, a thread makes the features of the next.
        """

        def with_features(examples: Dataset) -> tuple[Dataset, Dataset | None]:
            few = not len(examples)  # as a process without a share has
            return examples, None if few else self.qa_processor.make_features(examples, what, cached=False)

        parts = map(with_features, blocks)
        forks = self.qa_processor.dataset_args.preprocessing_num_workers > 1  # which a thread should not
        for examples, features in parts if forks else ahead(parts):
            if features is None:
                yield {}
                continue
            logits = read_features(self.model, features, self.collator, self.batch_size, self.precision, what)
            yield self.qa_processor.find_readings(examples, features, logits.predictions)

    def weigh(self, readings: Mapping[str, list[Reading]], retrieval_weight: float = 0.0) -> dict[str, list[Answer]]:
        """Return the n best answers per question id, from what was read in all of its passages."""
        settings = self.qa_processor.dataset_args
        return {question: weigh(found, settings, retrieval_weight) for question, found in readings.items()}

    def read_retrieved(self, retrieved: Retrieved, settings: PassageArguments) -> dict[str, list[Answer]]:
        """Return the n best answers per question id, from all of its retrieved passages."""
        answers: dict[str, list[Answer]] = {}
        for readings in self.retrieved_readings(retrieved, settings.passage_reading):
            answers |= self.weigh(readings, settings.retrieval_weight)
        return answers

    def retrieved_readings(self, retrieved: Retrieved, passage_reading: str) -> Iterator[dict[str, list[Reading]]]:
        """Yield what the reader finds in the retrieved passages.

        Some thousand passages are read at a time, so that memory stays bounded; no question is in two of these parts.
        Of every part a process reads its share of the questions (see :func:`runtime.processes.joint_command`).
        """
        to_examples = joined_passages if passage_reading == "joined" else separate_passages
        return self.readings(to_examples(_own_questions(block)) for block in retrieved.blocks())


class Pipeline(NamedTuple):
    """A reader, what finds the passages for it, and how these are read."""

    reader: Reader
    finder: PassageFinder
    settings: PipelineArguments

    @classmethod
    def load(
        cls, model: str, retriever: str = "SparseRetrieval_BM25P", corpus: str | None = None, **flags: Any
    ) -> Pipeline:
        """Return the pipeline of the trained reader ``model`` and a ``retriever`` over the ``corpus``, a file.

        The index is taken from ``index_dir``, or built and kept there. ``retriever`` is what ``--retriever_type`` takes
        and ``flags`` are those of :class:`arguments.PipelineArguments`. Raises :class:`UserError` as ``inference.py``
        does for what cannot be loaded.
        """
        return cls.from_arguments(
            PipelineArguments(model=model, retriever_type=retriever, context_path=corpus, **flags)
        )

    @classmethod
    def from_arguments(cls, args: PipelineArguments) -> Pipeline:
        """Return the pipeline that the arguments describe, its reader and its retriever loaded."""
        args = as_trained(args)
        reader = Reader.from_arguments(args, processor_of(args))
        finder = load_finder(args, args.dataset_path, args.skip_bad_rows, args.tokenizer or args.model)
        return cls(reader, finder, args)

    def answer(self, questions: Sequence[str], k: int | None = None) -> list[list[FoundAnswer]]:
        """Return for every question its n best answers, best first, from its ``k`` best passages.

        ``k`` is by default the flag ``top_k_retrieval``. Raises :class:`UserError` for a blank question and for a
        ``k`` below 1.
        """
        return [answers for answers, _ in self.answer_with_passages(questions, k)]

    def answer_with_passages(
        self, questions: Sequence[str], k: int | None = None
    ) -> list[tuple[list[FoundAnswer], list[FoundPassage]]]:
        """Return for every question what :meth:`answer` does, and the ``k`` passages that were read, best first."""
        k = self.settings.top_k_retrieval if k is None else k
        if k < 1:
            raise UserError(f"k is {k}: read 1 passage or more")
        if isinstance(questions, str):
            raise UserError("questions must be a list of texts: write [question] for a single one")
        _refuse_blank(questions)
        if not questions:
            return []
        ids = list(map(str, range(len(questions))))
        examples = Dataset.from_dict({"id": ids, "question": list(questions)})
        retrieved = self.finder.find(examples, k)
        answers = self.reader.read_retrieved(retrieved, self.settings)
        passages: dict[str, list[FoundPassage]] = {name: [] for name in ids}
        for row in (row for block in retrieved.blocks() for row in block.itertuples()):
            passages[row.id].append(FoundPassage(row.rank, row.document_id, row.title, row.context, row.score))
        return [([_with_source(answer, passages[name]) for answer in answers[name]], passages[name]) for name in ids]


def processor_of(args: PipelineArguments | InferenceArguments) -> QAProcessor:
    """Return what cuts texts for the reader that settled arguments name, and finds the answers in them."""
    tokenizer = load_tokenizer(args.tokenizer or args.model)
    title_prefix = getattr(load_config(args.model), "title_prefix", False)
    return QAProcessor(part_of(args, DatasetArguments), tokenizer, title_prefix=title_prefix)


def own_contexts(examples: Dataset) -> Iterator[Dataset]:
    """Yield the examples to read without retrieval, some at a time and of each part this process's share.

    Raises :class:`UserError` if they come without contexts.
    """
    blank = [name for name, context in zip(examples["id"], examples["context"], strict=True) if is_blank(context)]
    if blank:
        raise UserError(
            f"--retriever_type none reads the contexts of the examples, and {len(blank)} have none "
            f"(the first: {blank[0]}): name a retriever"
        )
    for start in range(0, len(examples), PASSAGES_AT_ONCE):
        own = own_share(min(PASSAGES_AT_ONCE, len(examples) - start))
        yield gold_passages(examples.select(range(start + own.start, start + own.stop)))


def _own_questions(block: pd.DataFrame) -> pd.DataFrame:
    questions = block["id"].unique()  # (questions,)
    own = own_share(len(questions))
    return block[block["id"].isin(questions[own.start : own.stop])] if len(own) < len(questions) else block


def _with_source(answer: Answer, passages: Sequence[FoundPassage]) -> FoundAnswer:
    title, passage = next(((one.title, one.text) for one in passages if one.rank == answer.rank), ("", ""))
    return FoundAnswer(**vars(answer), title=title, passage=passage)


def _refuse_blank(questions: Sequence[str]) -> None:
    for number, question in enumerate(questions, start=1):
        if is_blank(question):
            raise UserError(f"question {number} of {len(questions)} is blank: there is nothing to answer")
