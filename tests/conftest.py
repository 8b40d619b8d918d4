"""Tiny Korean data, tokenizers and models for all tests: no network, no pretrained weights.

Tests run on the CPU in one thread; ``--device cuda`` lets them run on a GPU, and OMP_NUM_THREADS in more threads.
"""

from __future__ import annotations

import gc
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("PYTHONWARNINGS", "error")  # of the processes that tests start; for this one see pyproject.toml
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start

import pytest
import torch
from browser import started_browser
from datasets import Dataset
from forgetting import forget_accelerator
from machine import report
from tiny_data import PASSAGES, QUESTIONS, characters, squad, write_dataset  # noqa: F401 (scripts make data with it)
from tiny_models import tiny_bert, tiny_bert_config, tiny_reranker, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertForQuestionAnswering,
    PreTrainedTokenizerFast,
)

import retrieve
import train_mrc
from runtime.device import default_device

# --------------------------------------------------------------------------------------------------------- the machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="what models are trained and read on")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: what only exists on a GPU; skipped without --device cuda")
    if config.getoption("--device") == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    if not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: there is no CUDA device in sight")
    # the same numbers from the same run, and float32 all through
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") == "cpu":
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU: bash script/test.sh --device cuda"))


def pytest_collection_finish() -> None:
    """The Trainer collects garbage at every start; keep it from looking through all that was imported and collected."""
    gc.freeze()


def pytest_report_header() -> list[str]:
    return report()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in report():  # -q shows no header
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where the commands and loaders put models: the GPU with ``--device cuda``, else the CPU."""
    return default_device()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, for ``browser.opened``; not for longer, as it keeps asyncio's loop of the main thread."""
    with started_browser() as started:
        yield started


@pytest.fixture
def on_device(device: torch.device) -> Iterator[None]:
    """Let new tensors and modules be on the device of the tests."""
    with device:
        yield


@pytest.fixture
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let precision ``auto`` be fp32 on every machine, for numbers that bf16 would round."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))


# ------------------------------------------------------------------------------------------- data, tokenizers, models


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with train.json, validation.json, test.json, test_answers.json and wikipedia_documents.json."""
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder)
    return str(folder)


@pytest.fixture(scope="session")
def passages_path(dataset_path: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table that retrieve.py writes of what it finds for the training questions."""
    folder = tmp_path_factory.mktemp("passages")
    flags = f"--split train --write csv --analyzer bigram --index_dir {folder}/index --output_dir {folder}/found"
    retrieve.main(["--dataset_path", dataset_path, *flags.split()])
    return str(folder / "found" / "retrieved_passages.csv")


@pytest.fixture(scope="session")
def examples() -> Dataset:
    """The questions as examples, as ``loading.examples`` gives them."""
    rows = []
    for number, (passage, question, answer) in enumerate(QUESTIONS):
        title, context = PASSAGES[passage]
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
        row = {"id": f"train-{number}", "title": title, "question": question, "context": context, "answers": answers}
        rows.append(row | {"document_id": ""})
    return Dataset.from_list(rows)


@pytest.fixture
def log_lines():
    """The lines that our code logs, as ``LEVEL text``."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()}")

    logger, handler = logging.getLogger("transformers.odqa"), Keeper()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(scope="session")
def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Word pieces as klue/bert-base has them (``token_type_ids`` included), a piece being one character or a word."""
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def roberta_tokenizer() -> PreTrainedTokenizerFast:
    """Sentence pieces as XLM-R has them: a token may carry the space before it or a fused particle, no token types."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁조선의", "▁1443년에", "▁한산도에서", "▁약", "만▁명이다"]
    pieces += [piece for character in characters() for piece in (character, f"▁{character}")]
    vocabulary = [(piece, -1.0 - 0.001 * i - 3.0 * (len(piece) == 1)) for i, piece in enumerate(pieces)]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def encoder_path(tmp_path_factory: pytest.TempPathFactory, bert_tokenizer: PreTrainedTokenizerFast) -> str:
    """A tiny random BERT encoder with its tokenizer, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("encoder")
    tiny_bert(bert_tokenizer).save_pretrained(folder)
    bert_tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def reader_path(tmp_path_factory: pytest.TempPathFactory, bert_tokenizer: PreTrainedTokenizerFast) -> str:
    """A tiny random reader with its tokenizer, as Transformers itself would save it."""
    folder = tmp_path_factory.mktemp("reader")
    torch.manual_seed(0)
    BertForQuestionAnswering(tiny_bert_config(bert_tokenizer)).save_pretrained(folder)
    bert_tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def trained_reader(encoder_path: str, dataset_path: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny reader that was trained to know the answers to all questions of the sample."""
    folder = tmp_path_factory.mktemp("trained")
    train_mrc.main(
        f"--model {encoder_path} --dataset_path {dataset_path} --output_dir {folder}/run --cache_dir {folder}/cache "
        "--max_seq_len 128 --stride_len 16 --per_device_train_batch_size 4 --num_train_epochs 60 --precision fp32 "
        "--learning_rate 3e-3 --backbone_dropout 0".split()
    )
    return f"{folder}/run/best"


@pytest.fixture(scope="session")
def reranker_path(tmp_path_factory: pytest.TempPathFactory, bert_tokenizer: PreTrainedTokenizerFast) -> str:
    """A tiny random cross-encoder with its tokenizer, as Transformers itself would save it."""
    folder = tmp_path_factory.mktemp("reranker")
    tiny_reranker(bert_tokenizer).save_pretrained(folder)
    bert_tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def training_command(encoder_path: str, dataset_path: str, tmp_path: Path) -> list[str]:
    """What every training command is given: 12 features in batches of 4, so 3 steps an epoch, 4 epochs, dropout on."""
    flags = {
        "model": encoder_path,
        "dataset_path": dataset_path,
        "output_dir": tmp_path / "run",
        "cache_dir": tmp_path / "cache",
        "max_seq_len": 128,
        "stride_len": 16,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 4,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "precision": "fp32",
    }
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Accelerate keeps one state per process: give every test its own."""
    yield
    forget_accelerator()


@pytest.fixture
def config(tmp_path: Path):
    """Write a file of flags and return the words that name it."""

    def write(text: str, name: str = "run.yaml") -> list[str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return ["--config", str(tmp_path / name)]

    return write


@pytest.fixture
def predictions(tmp_path: Path):
    """Write the content (JSON, text or bytes) of a predictions file and return its path."""

    def write(content: object) -> str:
        path = tmp_path / "predictions.json"
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write
