"""Model cards say what a model is, and nothing about the machine it was trained on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from models.card import encoders_card, reader_card, reranker_card, token_encoder_card


def config(head: str = "linear", **facts: Any) -> Any:
    return SimpleNamespace(reader_head={"name": head}, **facts)


@pytest.fixture
def records(tmp_path: Path) -> dict[str, Any]:
    """What a run on a folder of this machine keeps with its model."""
    (tmp_path / "my_data").mkdir()
    arguments = {
        "model": "klue/bert-base",
        "dataset_path": str(tmp_path / "my_data"),
        "output_dir": str(tmp_path / "saved" / "roberta"),
    }
    given = {"learning_rate": 1e-3, "cache_dir": str(tmp_path / "cache"), "augment": ["a|b", "c"], **arguments}
    environment = {
        "precision": "bf16",
        "packages": {"torch": "2.13.0", "transformers": None},
        "data": {"train": "f00d"},
        "given": given,
        "processor": "SECRET CPU",
    }
    metrics = {"step": 7, "eval_loss": 1.23456, "eval_exact_match": 45.678, "eval_f1": 60.0}
    return {"arguments": arguments, "environment": environment, "metrics": metrics}


def test_a_card_has_data_scores_flags_and_a_header_for_the_hub(records: dict[str, Any], tmp_path: Path) -> None:
    text = reader_card(config(), records)
    card = ModelCard(text, ignore_metadata_errors=False)
    assert card.data.language == "ko" and card.data.pipeline_tag == "question-answering"
    assert (card.data.library_name, card.data.base_model) == ("transformers", "klue/bert-base")
    assert (card.data.license, card.data.license_name) == ("other", "to-be-filled-in")
    measured = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert measured == {"exact_match": 45.678, "f1": 60.0}
    assert {result.dataset_name for result in card.data.eval_results} == {"my_data"}
    assert text.split("---\n\n")[1].startswith("# roberta\n\nKorean reader")
    for line in (
        "- Data: my_data", "- Started from: klue/bert-base", "- Fingerprint of the train data: `f00d`",
        "- Optimizer steps: 7", "- With torch 2.13.0, in bf16", "| `--learning_rate` | 0.001 |",
        "| `--augment` | a\\|b c |", "| loss | 1.2346 |", "| exact match | 45.68 |", "| F1 | 60.00 |",
    ):  # fmt: skip
        assert line in text.splitlines(), line
    assert str(tmp_path) not in text and "SECRET" not in text and "cache_dir" not in text


def test_how_to_load_follows_the_head(records: dict[str, Any]) -> None:
    records["arguments"]["hub_model_id"] = "me/reader"
    linear, custom = reader_card(config(), records), reader_card(config("cnn_sds", title_prefix=True), records)
    assert 'AutoModelForQuestionAnswering.from_pretrained("me/reader")' in linear and "title: text" not in linear
    assert "from_pretrained" not in custom and "head `cnn_sds`, which is code of this project" in custom
    assert "library_name: odqa" in custom and "`title: text`" in custom
    assert 'Reader.load("me/reader")' in linear and 'Reader.load("me/reader")' in custom


def test_a_local_model_to_start_from_is_no_base_model_of_the_hub(records: dict[str, Any], tmp_path: Path) -> None:
    start = tmp_path / "first" / "best"
    start.mkdir(parents=True)
    records["arguments"]["model"] = str(start)
    text = reader_card(config(), records)
    assert "- Started from: first/best" in text and "base_model" not in text


def test_retrievers_and_rerankers(records: dict[str, Any]) -> None:
    records["metrics"] = {"eval_recall@5": 80.0, "eval_mrr@10": 70.0}
    encoders, reranker = encoders_card(records), reranker_card(records)
    assert ModelCard(encoders).data.pipeline_tag == "sentence-similarity" and "| recall@5 | 80.00 |" in encoders
    assert ModelCard(reranker).data.pipeline_tag == "text-ranking" and "| MRR@10 | 70.00 |" in reranker
    assert "--retriever_dir FOLDER" in encoders and "--reranker roberta" in reranker
    tokens = token_encoder_card(records)
    assert ModelCard(tokens).data.library_name == "sentence-transformers" and "| recall@5 | 80.00 |" in tokens
    assert "--retriever_type MultiVectorRetrieval --retriever_dir FOLDER" in tokens


def test_a_model_without_a_run_has_a_card_too() -> None:
    text = reader_card(config(), {"average": {"averaged": ["a", "b"]}, "arguments": {"output_dir": "saved/x"}})
    assert "# x-average" in text
    assert "mean of 2 checkpoints" in text and "It was not measured." in text and "model-index" not in text
    assert ModelCard(text).data.language == "ko"
