"""What retrieval models are trained on: questions with the passage that answers them, and passages that do not."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, partial

import torch
from datasets import Dataset

from arguments import DatasetArguments
from loading.corpus import Corpus
from loading.dpr_json import find_dpr_json, read_dpr_json
from loading.retrieval_examples import Passage, Positives, RetrievalExample
from runtime.files import first_there
from runtime.log import get_logger
from runtime.text import answer_occurs, comparable

logger = get_logger(__name__)

_KEYS_KEPT = 2**17
_RANDOM_TRIES = 50  # passages looked at for each random negative, of which nearly every one will do


def load_retrieval_examples(
    dataset_path: str | Sequence[str],
    splits: Sequence[str],
    load_examples: Callable[[str | Sequence[str], Sequence[str], bool], Mapping[str, Dataset]],
    skip_bad_rows: bool = False,
) -> dict[str, list[RetrievalExample]]:
    """Return the wanted ``splits`` (of train, validation) of any data set: DPR JSON, or what ``load_examples`` reads.

    ``load_examples(dataset_path, splits, skip_bad_rows)`` is that of ``loading.examples``, and ``dataset_path`` may be
    several places, as there. Questions without an answer in their passage name no passage to find and are left out,
    which is logged. Raises :class:`UserError` and :class:`DataError` as the two readers do.
    """
    found = dataset_path if isinstance(dataset_path, str) else first_there(dataset_path)
    files = {split: find_dpr_json(found, split) for split in splits}
    other = [split for split in splits if files[split] is None]
    loaded = load_examples(dataset_path, other, skip_bad_rows) if other else {}
    examples = {}
    for split in splits:
        if files[split] is not None:
            examples[split] = read_dpr_json(files[split], skip_bad_rows)
        else:
            examples[split] = from_reading_examples(loaded[split])
            if left_out := len(loaded[split]) - len(examples[split]):
                logger.info("%s: left out %d questions that their passage does not answer", split, left_out)
    return examples


def load_questions(
    arguments: DatasetArguments,
    load_examples: Callable[[str | Sequence[str], Sequence[str], bool], Mapping[str, Dataset]],
    evaluate: bool,
) -> tuple[list[RetrievalExample], list[RetrievalExample]]:
    """Return the questions to train on and those to ``evaluate`` on, as the flags of the data choose them.

    With ``concat_eval`` the validation questions are trained on, and there are none to evaluate on but those of
    ``test_eval_dataset_path``. Raises as :func:`load_retrieval_examples` does.
    """
    own = arguments.test_eval_dataset_path
    read = partial(load_retrieval_examples, load_examples=load_examples, skip_bad_rows=arguments.skip_bad_rows)
    both = arguments.concat_eval or (evaluate and own is None)
    splits = read(arguments.dataset_path, ["train", "validation"] if both else ["train"])
    train, validation = splits["train"], splits.get("validation", [])
    if arguments.concat_eval:
        train, validation = train + validation, []
    if evaluate and own is not None:
        validation = read(arguments.evaluation_places, ["validation"])["validation"]
    return train[: arguments.max_train_samples], validation[: arguments.max_eval_samples]


def from_reading_examples(examples: Dataset) -> list[RetrievalExample]:
    """Return a reader's answerable ``examples`` with their contexts as the passages to find."""
    return [
        RetrievalExample(
            row["id"],
            row["question"],
            list(row["answers"]["text"]),
            Passage(row["title"] or "", row["context"], row["document_id"] or ""),
            [],
        )
        for row in examples
        if row["answers"]["text"]
    ]


def fingerprint(examples: Sequence[RetrievalExample]) -> str:
    """Return a SHA-256 over all of ``examples``, for ``environment.json``."""
    return hashlib.sha256(json.dumps(examples).encode("ascii")).hexdigest()


@lru_cache(maxsize=_KEYS_KEPT)
def passage_key(text: str) -> int:
    """Return a number (64 bits, signed) that is the same for passages that :func:`runtime.text.comparable` says are."""
    digest = hashlib.sha256(comparable(text).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def holds_answer(passage: Passage, answers: Collection[str]) -> bool:
    """Whether an answer occurs in text or title of ``passage``, whatever blanks and Unicode forms."""
    return answer_occurs(answers, passage.title, passage.text)


def corpus_passages(corpus: Corpus) -> list[Passage]:
    """Return every passage of ``corpus``, in its order."""
    return list(map(Passage, corpus.titles, corpus.texts, corpus.document_ids))


def with_gold_passages(corpus: Corpus, passages: Iterable[Passage]) -> tuple[Corpus, list[int]]:
    """Return ``corpus`` with those of ``passages`` at its end that it lacks, and the row of each of ``passages``.

    Passages are the same if their texts are, whatever blanks and Unicode forms; of several rows with one text the first
    is meant. What is added keeps its document id unless the corpus has that for another text.
    """
    row_of: dict[str, int] = {}
    for row, text in enumerate(corpus.texts):
        row_of.setdefault(comparable(text), row)
    ids, added, rows = {*corpus.document_ids, *corpus.also_known_as}, [], []
    for passage in passages:
        key = comparable(passage.text)
        if key not in row_of:
            row_of[key] = len(corpus) + len(added)
            document_id = passage.passage_id
            if not document_id or document_id in ids:
                document_id = f"added-{len(added)}"
            ids.add(document_id)
            added.append(passage._replace(passage_id=document_id))
        rows.append(row_of[key])
    if added:
        corpus = Corpus(
            corpus.document_ids + [passage.passage_id for passage in added],
            corpus.titles + [passage.title for passage in added],
            corpus.texts + [passage.text for passage in added],
            corpus.also_known_as,
        )
    return corpus, rows


class TrainingQuestions:
    """Questions in batches, each with its passages: the positive first, then ``negatives`` hard negatives.

    All of it is a function of the seed, the epoch and the row: a resumed run, and every process of a distributed one,
    draws the same. ``passages`` are where a random negative comes from once an example's own are used up; there are
    fewer negatives only where these hold no more that would do. None is a positive of the question, and no text is
    drawn twice.
    """

    def __init__(
        self, examples: Sequence[RetrievalExample], passages: Sequence[Passage], negatives: int, seed: int
    ) -> None:
        self.examples = examples
        self.passages = passages
        self.negatives = negatives
        self.seed = seed

    def __len__(self) -> int:
        return len(self.examples)

    def ids(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of the questions ``rows``."""
        return [self.examples[row].id for row in rows]

    def batches(self, epoch: int, batch_size: int) -> list[list[int]]:
        """Return the rows of every batch of ``epoch``, shuffled; the last batch may be smaller."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        rows = torch.randperm(len(self.examples), generator=generator)  # (rows,)
        return [batch.tolist() for batch in rows.split(batch_size)]

    def draw(self, row: int, epoch: int) -> list[Passage]:
        """Return the passages that the question of ``row`` is trained on in ``epoch``, the positive first."""
        example, rng = self.examples[row], random.Random(f"{self.seed} {epoch} {row}")
        positives = Positives(example)
        drawn: dict[str, Passage] = {}  # by what makes a text the same

        def take(passages: Iterable[Passage]) -> None:
            for passage in passages:
                if len(drawn) == self.negatives:
                    break
                if passage not in positives:
                    drawn.setdefault(comparable(passage.text), passage)

        take(rng.sample(example.negatives, min(self.negatives, len(example.negatives))))
        take(example.negatives)  # where one of those was drawn twice, or is right
        if missing := self.negatives - len(drawn):
            tries = min(len(self.passages), missing * _RANDOM_TRIES)
            candidates = (self.passages[index] for index in rng.sample(range(len(self.passages)), tries))
            take(passage for passage in candidates if not holds_answer(passage, example.answers))
        return [example.positive, *drawn.values()]
