"""Files of every kind that we read, damaged, and what becomes of it: right, one sentence, or a fault."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import random
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from arguments import OptimizationArguments, RetrieverArguments, TrainMRCArguments, parse_arguments
from loading.corpus import Corpus, load_corpus
from loading.dpr_json import read_dpr_json
from loading.examples import load_examples
from loading.questions import load_retrieval_examples
from models import load_reader, load_tokenizer
from models.arguments import EncoderArguments
from models.cross_encoder import load_cross_encoder
from models.encoder import load_settings
from reading.features import build_features
from reading.predictions import read_nbest, read_predictions
from retrieval import create_retriever, load_or_build
from retrieval.analysis import analyze_corpus
from retrieval.arguments import MiningArguments
from retrieval.mining import find_hard_negatives
from retrieval.table import get_retrieved_df
from runtime.checksums import write_checksums
from runtime.errors import DataError, UserError
from runtime.files import read_json, write_json
from runtime.tracking import read_metrics
from training.checkpoint import BestCheckpoints, Progress, find_state, load_state, save_state
from training.optimization import make_optimizer, make_scheduler
from training.trainer_checkpoint import find_checkpoint

Mutation = Callable[[bytes, random.Random], bytes | None]
_PAGE, _BOMB = 4096, 1 << 29
_PATIENCE = 60  # seconds, of what takes one


def _flipped(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return b"\0"
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    """A page that the disk lost."""
    start = rng.randrange(max(1, len(content)))
    return content[:start] + bytes(len(content[start : start + _PAGE])) + content[start + _PAGE :]


def _spliced(content: bytes, rng: random.Random) -> bytes:
    """A stretch that stands elsewhere, in the place of another."""
    places = [rng.randrange(len(content) + 1) for _ in range(4)]
    first, last = sorted(places[:2])
    return content[:first] + content[min(places[2:]) : max(places[2:])] + content[last:]


def _noisy(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.randbytes(rng.randint(1, 8)) + content[place:]


def _other_value(content: bytes, rng: random.Random) -> bytes:
    """JSON in which one value is another one, or a key stands twice."""
    whole = json.loads(content)
    holders = [whole] if isinstance(whole, dict | list) and whole else []
    for holder in holders:  # it grows
        holders += [v for v in (holder.values() if isinstance(holder, dict) else holder) if isinstance(v, dict | list)]
    holders = [holder for holder in holders if holder]
    if not holders:
        return json.dumps(rng.choice(NONSENSE)).encode()
    holder = rng.choice(holders)
    key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    holder[key] = rng.choice(NONSENSE)
    text = json.dumps(whole, ensure_ascii=rng.random() < 0.5)
    return text.encode(errors="surrogatepass")


NONSENSE: list[Any] = [
    None, True, 0, -1, 3.5, 10**40, 1e300, math.nan, math.inf, "", " ", "\x1b[2J", "\ud800", "a\0b", "=1+1", "\u202e\n",
    [], [None], [[]], ["a", 1], {}, {"": None}, {"text": {}}, {"text": [], "answer_start": [1]}, "['a'", "9" * 5000,
]  # fmt: skip
BREAKING: dict[str, Mutation] = {
    "truncated": lambda content, rng: content[: rng.randrange(max(1, len(content)))],
    "emptied": lambda content, rng: b"",
    "{}": lambda content, rng: b"{}",
    "[]": lambda content, rng: b"[]",
    "null": lambda content, rng: b"null",
    "not UTF-8": lambda content, rng: b"\xff\xfe" + content,
    "nested": lambda content, rng: b"[" * 100_000,
    "many digits": lambda content, rng: b"9" * 5000,
    "deleted": lambda content, rng: None,
}
MUTATIONS: dict[str, Mutation] = {
    **BREAKING,
    "flipped": _flipped,
    "zeroed": _zeroed,
    "spliced": _spliced,
    "noisy": _noisy,
}
JSON_MUTATIONS: dict[str, Mutation] = {**MUTATIONS, **{f"other value {n}": _other_value for n in range(10)}}
GZIP_MUTATIONS: dict[str, Mutation] = {
    **MUTATIONS,
    "bomb": lambda content, rng: gzip.compress(bytes(_BOMB), 1, mtime=0),
}
YAML_MUTATIONS: dict[str, Mutation] = {
    **MUTATIONS,
    "aliases": lambda content, rng: b"a: &a [x, x]\n" + b"".join(
        b"%c: &%c [*%c, *%c, *%c]\n" % (98 + n, 98 + n, 97 + n, 97 + n, 97 + n) for n in range(24)
    ),
}  # fmt: skip


@dataclass
class Kind:
    """A kind of files: those in ``folder`` that ``pattern`` matches, and what ``use(folder)`` makes of them.

    ``mutations`` are those that a look at the file can find out: all of them where it has a checksum, and where it is a
    user's, of which whatever is read is right (``users``).
    """

    name: str
    folder: Path
    use: Callable[[Path], Any]
    pattern: str = "**/*"
    mutations: dict[str, Mutation] = field(default_factory=lambda: MUTATIONS)
    users: bool = False

    def files(self) -> list[Path]:
        """Return the files that are damaged, relative to the folder."""
        found = (path for path in self.folder.glob(self.pattern) if path.is_file())
        return sorted(path.relative_to(self.folder) for path in found)

    @cached_property
    def expected(self) -> Any:
        """What comes of the whole files."""
        return self.use(self.folder)


class Mutant(NamedTuple):
    """A file that was damaged, how, and what became of it: ``outcome`` and what was said."""

    kind: str
    file: str
    mutation: str
    outcome: str
    said: str


def mutant(kind: Kind, rng: random.Random, copy: Path) -> Iterator[Mutant]:
    """Yield which file of ``kind`` is damaged in ``copy`` of its folder, and how; then what becomes of it."""
    file, mutation = rng.choice(kind.files()), rng.choice(list(kind.mutations))
    expected = kind.expected  # of the whole files, before any is damaged
    drawn = Mutant(kind.name, str(file), mutation, "hang", "")
    yield drawn
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(kind.folder, copy)
    damaged = kind.mutations[mutation]((copy / file).read_bytes(), rng)
    (copy / file).unlink()  # it may be another name of some other file
    if damaged is not None:
        (copy / file).write_bytes(damaged)
    outcome, said = judge(lambda: kind.use(copy), None if kind.users else expected)
    yield drawn._replace(outcome=outcome, said=said)


def judge(use: Callable[[], Any], expected: Any) -> tuple[str, str]:
    """Return the outcome of ``use``, which is to give ``expected`` unless that is None, and what was said."""
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            found = use()
    except DataError as error:
        return "sentence", str(error)
    except UserError as error:
        return ("traceback" if "\n" in str(error) else "sentence"), str(error)
    except SystemExit:
        return ("sentence" if "error: " in errors.getvalue() else "traceback"), errors.getvalue()
    except Exception:
        return "traceback", traceback.format_exc()
    return ("right", "") if expected is None or _equal(found, expected) else ("different", repr(found)[:1000])


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return np.array_equal(found, expected)
    if isinstance(expected, tuple | list):
        return len(found) == len(expected) and all(map(_equal, found, expected))
    return found == expected


class MutationWorker:
    """Damages files in a process of its own, which is another one after it crashed or hung.

    ``folder`` holds the materials; what was damaged last is left in its ``damaged``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, folder / "damaged-said.txt"
        self.process = 0

    def damage(self, seed: str) -> tuple[str, str, str]:
        """Damage a file, both drawn by ``seed``; return what and how, the outcome, and what was said."""
        if not self.process:
            self._start()
        self.worker.send_bytes(seed.encode())
        found = Mutant("?", seed, "", "hang", "")
        while found.outcome == "hang":
            try:
                if not self.worker.poll(_PATIENCE):
                    return self._end(found, "hang")
                found = Mutant(*json.loads(self.worker.recv_bytes()))
            except (EOFError, ConnectionError):
                return self._end(found, "traceback")
        return _told(found)

    def _start(self) -> None:
        self.worker, questions = Pipe()
        self.process = os.fork()
        if self.process == 0:
            try:
                self.worker.close()
                os.dup2(os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
                _work(self.folder, questions)
            except EOFError:
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        questions.close()

    def _end(self, found: Mutant, outcome: str) -> tuple[str, str, str]:
        os.kill(self.process, signal.SIGKILL)
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        self.worker.close()
        said = f"it ended with {os.waitstatus_to_exitcode(status)}: {self.said.read_text(errors='replace')}"
        return _told(found._replace(outcome=outcome, said=said))


def _told(found: Mutant) -> tuple[str, str, str]:
    return f"{found.kind}: {found.file} {found.mutation}", found.outcome, found.said


def _work(folder: Path, questions: Connection) -> None:
    """Answer each of ``questions``, a seed, twice: by what is damaged, and by what became of it."""
    place = folder / f"kinds-{os.getpid()}"
    place.mkdir()
    every = kinds(folder, place)
    while True:
        rng = random.Random(questions.recv_bytes().decode())
        for found in mutant(rng.choice(every), rng, folder / "damaged"):
            questions.send_bytes(json.dumps(found).encode())


# ---------------------------------------------------------------------------------------------------------- the kinds


def kinds(materials: Path, folder: Path) -> list[Kind]:
    """Return every kind of file, made in ``folder`` of the models and data in ``materials``."""
    corpus = load_corpus(str(materials / "data" / "wikipedia_documents.json"))
    return [
        *_indexes(materials, corpus, folder),
        *_caches(materials, corpus, folder),
        *_runs(folder),
        *_models(materials, folder),
        *_data(materials, corpus, folder),
        *_flags(folder),
    ]


def _indexes(materials: Path, corpus: Corpus, folder: Path) -> Iterator[Kind]:
    variants = {
        "BM25+ index": {"retriever_type": "SparseRetrieval_BM25P"},
        "rank_bm25 index": {"retriever_type": "SparseRetrieval_BM25P", "bm25_backend": "rank_bm25"},
        "TF-IDF index": {"retriever_type": "SparseRetrieval_TFIDF"},
        "dense index": {"retriever_type": "DenseRetrieval", "retriever_dir": str(materials / "encoder")},
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


def _caches(materials: Path, corpus: Corpus, folder: Path) -> Iterator[Kind]:
    tokenizer, splits = load_tokenizer(str(materials / "reader")), ["train"]
    examples = load_examples(str(materials / "data"), splits)["train"]
    questions = load_retrieval_examples(str(materials / "data"), splits)["train"]

    def mine(folder: Path) -> Any:
        miner = create_retriever(RetrieverArguments(analyzer="bigram"))
        return find_hard_negatives(questions, corpus, miner, MiningArguments(mining_depth=5), folder)

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


def _models(materials: Path, folder: Path) -> Iterator[Kind]:
    """Yield the files of models: damaged weights are refused; settings, which people edit, if they cannot be read."""
    for name, source, records in (
        ("reader", materials / "reader", {}),
        ("encoder", materials / "encoder", {"encoder.json": {"question_max_len": 32, "passage_max_len": 64}}),
        ("reranker", materials / "reranker", {"reranker.json": {"max_len": 96, "title_prefix": True}}),
    ):
        shutil.copytree(source, folder / name)
        for file, content in records.items():
            write_json(folder / name / file, content)
        write_checksums(folder / name)

    def weights(folder: Path) -> dict[str, float]:
        return {
            name: weight.double().sum().item()
            for name, weight in load_reader(str(folder), trained=True).named_parameters()
        }

    uses: dict[tuple[str, str], Callable[[Path], Any]] = {
        ("reader", "config.json"): lambda folder: type(load_reader(str(folder), trained=True)).__name__,
        ("reader", "model.safetensors"): weights,
        ("reader", "tokenizer*.json"): lambda folder: load_tokenizer(str(folder)).get_vocab(),
        ("encoder", "encoder.json"): lambda folder: _whole_or_default(folder),
        ("reranker", "reranker.json"): lambda folder: load_cross_encoder(str(folder)).settings.title_prefix,
    }
    for (name, pattern), use in uses.items():
        mutations = MUTATIONS if pattern.endswith(".safetensors") else BREAKING
        yield Kind(f"{name}: {pattern}", folder / name, use, pattern, mutations)


def _whole_or_default(folder: Path) -> bool:
    """An encoder without ``encoder.json``, or with nothing in it, is one of another make: it has the usual settings."""
    settings = load_settings(folder, EncoderArguments())
    return (settings.question_max_len, settings.passage_max_len) in ((32, 64), (64, 256))


def _data(materials: Path, corpus: Corpus, folder: Path) -> Iterator[Kind]:
    """Yield the files of users: data, corpora, tables and predictions in every format."""
    data, whole = materials / "data", read_json(materials / "data" / "wikipedia_documents.json")
    questions = load_examples(str(data), ["train", "validation"])
    passages = pd.DataFrame({"id": corpus.document_ids, "title": corpus.titles, "text": corpus.texts})
    found = pd.DataFrame(
        {"id": row["id"], "question": row["question"], "rank": rank, "document_id": str(rank), "title": "서울",
         "context": corpus.texts[rank], "score": 1.5 - rank}
        for row in questions["validation"] for rank in (1, 2)
    )  # fmt: skip
    answers = read_json(materials / "member" / "nbest_predictions.json")
    dpr = [
        {"question": row["question"], "answers": row["answers"]["text"], "hard_negative_ctxs": [],
         "positive_ctxs": [{"title": row["title"], "text": row["context"], "passage_id": "1"}]}
        for row in questions["train"]
    ]  # fmt: skip
    table = lambda path: get_retrieved_df(path, questions["validation"])
    files: dict[str, tuple[Callable[[Path], Any], Callable[[str], Any], dict[str, Mutation]]] = {
        "train.json": (lambda path: shutil.copy(data / "train.json", path), _examples, JSON_MUTATIONS),
        "rows.csv": (lambda path: passages.to_csv(path, index=False), load_corpus, MUTATIONS),
        "rows.parquet": (passages.to_parquet, load_corpus, MUTATIONS),
        "rows.jsonl": (lambda path: passages.to_json(path, orient="records", lines=True), load_corpus, MUTATIONS),
        "rows.jsonl.gz": (
            lambda path: passages.to_json(path, orient="records", lines=True), load_corpus, GZIP_MUTATIONS,
        ),
        "wikipedia_documents.json": (lambda path: write_json(path, whole), load_corpus, JSON_MUTATIONS),
        "questions.parquet": (questions["train"].to_parquet, _examples, MUTATIONS),
        "dpr.json": (lambda path: write_json(path, dpr), read_dpr_json, JSON_MUTATIONS),
        "predictions.json": (
            lambda path: write_json(path, {id: rows[0]["text"] for id, rows in answers.items()}),
            read_predictions, JSON_MUTATIONS,
        ),
        "nbest_predictions.json": (lambda path: write_json(path, answers), read_nbest, JSON_MUTATIONS),
        "retrieved_passages.csv": (lambda path: found.to_csv(path, index=False), table, MUTATIONS),
        "retrieved_passages.parquet": (found.to_parquet, table, MUTATIONS),
    }  # fmt: skip
    for name, (write, read, mutations) in files.items():
        (folder / f"of {name}").mkdir()
        write(folder / f"of {name}" / name)
        use = lambda place, read=read, name=name: read(str(place / name))
        yield Kind(name, folder / f"of {name}", use, mutations=mutations, users=True)
    questions.save_to_disk(folder / "saved")
    saved = lambda place: load_examples(str(place), ["train", "validation"])
    yield Kind("saved data set: JSON", folder / "saved", saved, "**/*.json", JSON_MUTATIONS, users=True)
    yield Kind("saved data set: arrow", folder / "saved", saved, "**/*.arrow", users=True)


def _examples(path: str) -> Any:
    return load_examples(path, ["train"])


def _flags(folder: Path) -> Iterator[Kind]:
    """Yield files of flags."""
    flags = {"model": "klue/bert-base", "learning_rate": 0.001, "seed": 3, "do_eval": True, "output_dir": "run"}
    texts = {
        "run.json": json.dumps(flags),
        "run.yaml": "".join(f"{name}: {json.dumps(v)}\n" for name, v in flags.items()),
    }
    for (name, text), mutations in zip(texts.items(), (JSON_MUTATIONS, YAML_MUTATIONS), strict=True):
        (folder / f"of {name}").mkdir()
        (folder / f"of {name}" / name).write_text(text, encoding="utf-8")
        use = lambda place, name=name: parse_arguments(TrainMRCArguments, ["--config", str(place / name)])
        yield Kind(name, folder / f"of {name}", use, mutations=mutations, users=True)
