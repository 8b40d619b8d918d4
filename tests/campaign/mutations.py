"""Files of every kind that we write, damaged, and what becomes of it: right, rebuilt, one sentence, or a fault.

for mutant in mutants(kinds(materials, folder), random.Random(0), count=3):
    assert mutant.outcome in SOUND, mutant
"""

from __future__ import annotations

import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from arguments import OptimizationArguments, RetrieverArguments
from loading.corpus import Corpus, load_corpus
from loading.examples import load_examples
from loading.questions import load_retrieval_examples
from models import load_reader, load_tokenizer
from models.arguments import EncoderArguments
from models.cross_encoder import load_cross_encoder
from models.encoder import load_settings
from reading.features import build_features
from retrieval import create_retriever, load_or_build
from retrieval.analysis import analyze_corpus
from retrieval.mining import find_hard_negatives
from runtime.checksums import write_checksums
from runtime.errors import DataError, UserError
from runtime.files import write_json
from runtime.tracking import read_metrics
from training.checkpoint import BestCheckpoints, Progress, find_state, load_state, save_state
from training.optimization import make_optimizer, make_scheduler
from training.trainer_checkpoint import find_checkpoint

Mutation = Callable[[bytes, random.Random], bytes | None]
SOUND = ("right", "rebuilt", "sentence")
_PAGE = 4096


def _flipped(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return b"\0"
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    """A page that the disk lost."""
    start = rng.randrange(max(1, len(content)))
    return content[:start] + bytes(len(content[start : start + _PAGE])) + content[start + _PAGE :]


BREAKING: dict[str, Mutation] = {
    "truncated": lambda content, rng: content[: rng.randrange(max(1, len(content)))],
    "emptied": lambda content, rng: b"",
    "{}": lambda content, rng: b"{}",
    "[]": lambda content, rng: b"[]",
    "null": lambda content, rng: b"null",
    "not UTF-8": lambda content, rng: b"\xff\xfe" + content,
    "nested": lambda content, rng: b"[" * 100_000,
    "deleted": lambda content, rng: None,
}
MUTATIONS: dict[str, Mutation] = {**BREAKING, "flipped": _flipped, "zeroed": _zeroed}


class Materials(NamedTuple):
    """Folders of tiny models, and of the sample."""

    encoder: str
    reader: str
    reranker: str
    dataset: str


@dataclass
class Kind:
    """A kind of files: those in ``folder`` that ``pattern`` matches, and what ``use(folder)`` makes of them.

    ``mutations`` are those that a look at the file can find out; all of them where it has a checksum.
    """

    name: str
    folder: Path
    use: Callable[[Path], Any]
    pattern: str = "**/*"
    mutations: dict[str, Mutation] = field(default_factory=lambda: MUTATIONS)

    def files(self) -> list[Path]:
        """Return the files that are damaged, relative to the folder."""
        found = (path for path in self.folder.glob(self.pattern) if path.is_file())
        return sorted(path.relative_to(self.folder) for path in found)


class Mutant(NamedTuple):
    """A file that was damaged, how, and what became of it: an ``outcome`` and what was said."""

    kind: str
    file: str
    mutation: str
    outcome: str
    said: str


def mutants(kinds: Sequence[Kind], rng: random.Random, count: int | None = None) -> Iterator[Mutant]:
    """Yield what becomes of every file and mutation of ``kinds``, or of ``count`` of each kind, drawn by ``rng``."""
    for kind in kinds:
        expected = kind.use(kind.folder)
        todo = [(file, mutation) for file in kind.files() for mutation in kind.mutations]
        for file, mutation in todo if count is None else rng.sample(todo, min(count, len(todo))):
            copy = kind.folder.with_name(f"{kind.folder.name}-mutant")
            shutil.copytree(kind.folder, copy)
            damaged = kind.mutations[mutation]((copy / file).read_bytes(), rng)
            (copy / file).unlink()
            if damaged is not None:
                (copy / file).write_bytes(damaged)
            yield Mutant(kind.name, str(file), mutation, *judge(lambda: kind.use(copy), expected))  # noqa: B023
            shutil.rmtree(copy)


def judge(use: Callable[[], Any], expected: Any) -> tuple[str, str]:
    """Return the outcome of ``use``, and what was said."""
    warnings = _Warnings()
    logger = logging.getLogger("transformers.odqa")
    logger.addHandler(warnings)
    try:
        found = use()
    except DataError as error:
        return "sentence", str(error)
    except UserError as error:
        return ("several lines" if "\n" in str(error) else "sentence"), str(error)
    except Exception as error:
        return "traceback", repr(error)
    finally:
        logger.removeHandler(warnings)
    said = "; ".join(warnings.lines)
    if not _equal(found, expected):
        return "different", said
    return ("rebuilt" if said else "right"), said


def table(found: Sequence[Mutant]) -> str:
    """Return how often each outcome was seen, by kind of file."""
    counts = Counter((mutant.kind, mutant.outcome) for mutant in found)
    outcomes = [*SOUND, *sorted({mutant.outcome for mutant in found} - set(SOUND))]
    lines = [f"| file | {' | '.join(outcomes)} |", "|---" * (len(outcomes) + 1) + "|"]
    for kind in dict.fromkeys(mutant.kind for mutant in found):
        lines.append(f"| {kind} | {' | '.join(str(counts[kind, outcome]) for outcome in outcomes)} |")
    return "\n".join(lines)


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return np.array_equal(found, expected)
    if isinstance(expected, tuple | list):
        return len(found) == len(expected) and all(map(_equal, found, expected))
    return found == expected


# ---------------------------------------------------------------------------------------------------------- the kinds


def kinds(materials: Materials, folder: Path) -> list[Kind]:
    """Return every kind of file, made in ``folder``."""
    corpus = load_corpus(f"{materials.dataset}/wikipedia_documents.json")
    return [
        *_indexes(materials, corpus, folder),
        *_caches(materials, corpus, folder),
        *_runs(folder),
        *_models(materials, folder),
    ]


def _indexes(materials: Materials, corpus: Corpus, folder: Path) -> Iterator[Kind]:
    variants = {
        "BM25+ index": {"retriever_type": "SparseRetrieval_BM25P"},
        "rank_bm25 index": {"retriever_type": "SparseRetrieval_BM25P", "bm25_backend": "rank_bm25"},
        "TF-IDF index": {"retriever_type": "SparseRetrieval_TFIDF"},
        "dense index": {"retriever_type": "DenseRetrieval", "retriever_dir": materials.encoder},
    }
    for name, flags in variants.items():
        arguments = RetrieverArguments(analyzer="bigram", passage_max_len=32, **flags)

        def search(folder: Path, arguments: Any = arguments) -> Any:
            return tuple(
                load_or_build(create_retriever(arguments), corpus, folder).search(["조선의 왕", "서울의 강"], 5)
            )

        search(folder / name)
        yield Kind(name, folder / name, search)


class _Words:
    """An analyser whose terms are kept."""

    description: dict[str, Any] = {"name": "kiwi", "of": "mutations"}  # noqa: RUF012

    def analyze(self, texts: Sequence[str]) -> list[list[str]]:
        return [text.split() for text in texts]


def _caches(materials: Materials, corpus: Corpus, folder: Path) -> Iterator[Kind]:
    tokenizer, splits = load_tokenizer(materials.reader), ["train"]
    examples = load_examples(materials.dataset, splits)["train"]
    questions = load_retrieval_examples(materials.dataset, splits)["train"]

    def mine(folder: Path) -> Any:
        miner = create_retriever(RetrieverArguments(analyzer="bigram"))
        return find_hard_negatives(questions, corpus, miner, 5, folder)

    uses: dict[str, Callable[[Path], Any]] = {
        "terms of a corpus": lambda folder: list(analyze_corpus(_Words(), corpus, folder)),
        "features": lambda folder: build_features(examples, tokenizer, 128, 16, folder).to_dict(),
        "mined negatives": mine,
    }
    for name, use in uses.items():
        use(folder / name)
        yield Kind(name, folder / name, use, "negatives-*" if use is mine else "**/*")


def _training(seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(model.named_parameters(), OptimizationArguments(), "")
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer, make_scheduler(optimizer, OptimizationArguments(), 20)


def _runs(folder: Path) -> Iterator[Kind]:
    best = BestCheckpoints()
    best.update(4, 0.5, 50.0)
    save_state(folder / "resume state", Progress(4, 1, 2), best, *_training(0))

    def resume(folder: Path) -> Any:
        training = _training(1)
        state = find_state(folder, "true")
        if state is None:
            return "from scratch"
        found = load_state(state, *training)
        weights = [weight.numpy() for weight in training[0].state_dict().values()]
        return [*found, *weights, torch.rand(3).numpy()]

    yield Kind("resume state", folder / "resume state", resume)

    run = folder / "checkpoints of the Trainer"
    for step in (4, 8):
        content = run / f"checkpoint-{step}"
        content.mkdir(parents=True)
        write_json(content / "trainer_state.json", {"global_step": step})
        (content / "optimizer.pt").write_bytes(random.Random(step).randbytes(5000))
        write_checksums(content)
    whole = {step: _contents(run / f"checkpoint-{step}") for step in (4, 8)}

    def choose(folder: Path) -> Any:
        chosen = find_checkpoint(folder, "true")
        return chosen is not None and all(
            (chosen / name).read_bytes() == content
            for name, content in whole[int(chosen.name.removeprefix("checkpoint-"))].items()
            if name != "checksums.json"
        )

    yield Kind("checkpoints of the Trainer", run, choose)

    (folder / "metrics").mkdir()
    (folder / "metrics" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')

    def is_beginning(folder: Path) -> Any:  # a run that was killed may have cut off the end
        lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
        found = read_metrics(folder / "metrics.jsonl")
        return found == lines[: len(found)]

    yield Kind("metrics.jsonl", folder / "metrics", is_beginning, mutations=BREAKING)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _models(materials: Materials, folder: Path) -> Iterator[Kind]:
    """Yield the files of models that are no weights: what cannot be read is said, as they have no checksums."""
    for name, source, records in (
        ("reader", materials.reader, {}),
        ("encoder", materials.encoder, {"encoder.json": {"question_max_len": 32, "passage_max_len": 64}}),
        ("reranker", materials.reranker, {"reranker.json": {"max_len": 96, "title_prefix": True}}),
    ):
        shutil.copytree(source, folder / name)
        for file, content in records.items():
            write_json(folder / name / file, content)
    uses: dict[tuple[str, str], Callable[[Path], Any]] = {
        ("reader", "config.json"): lambda folder: type(load_reader(str(folder), trained=True)).__name__,
        ("reader", "tokenizer*.json"): lambda folder: load_tokenizer(str(folder)).get_vocab(),
        ("encoder", "encoder.json"): lambda folder: _whole_or_default(folder),
        ("reranker", "reranker.json"): lambda folder: load_cross_encoder(str(folder)).settings.title_prefix,
    }
    for (name, pattern), use in uses.items():
        yield Kind(f"{name}: {pattern}", folder / name, use, pattern, BREAKING)


def _whole_or_default(folder: Path) -> bool:
    """An encoder without ``encoder.json``, or with nothing in it, is one of another make: it has the usual settings."""
    settings = load_settings(folder, EncoderArguments())
    return (settings.question_max_len, settings.passage_max_len) in ((32, 64), (64, 256))
