"""Augmented training end to end: killed and resumed bit for bit, and the title prefix from training to inference."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from comparing import PROPORTIONAL_STEPS, assert_same_training, close_to
from killing import kill_and_resume
from transformers import PreTrainedTokenizerFast

import inference
import pipeline
import train_mrc
from loading.corpus import load_corpus
from models import load_reader
from reading.logits import read_features
from runtime.errors import UserError
from runtime.tracking import read_metrics


@pytest.fixture
def command(training_command: list[str]) -> list[str]:
    return [*training_command, "--num_train_epochs", "3", "--eval_steps", "4"]


ALL = "random_flip,mask_word,mask_entity,mask_context,multiple_answers,negative_passage,title_prefix"


@pytest.mark.parametrize(
    ("shared", "call", "saved"), [([], 5, 4), ([], 18, 16), (["--shared_normalization"], 18, 16)]
)  # inside the first epoch and the third
def test_killed_and_resumed_sees_the_same_data(
    command: list[str],
    passages_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: list[str],
    call: int,
    saved: int,
) -> None:
    command += shared
    command += ["--augment", ALL, "--negative_passages_path", passages_path, *PROPORTIONAL_STEPS]
    train_mrc.main([*command, "--output_dir", str(tmp_path / "undisturbed")])
    lines = read_metrics(tmp_path / "undisturbed" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 19))  # 12 features and 12 negatives: 6 steps an epoch
    assert [line["epoch"] for line in lines] == pytest.approx([step / 6 for step in range(1, 19)])

    kill_and_resume(train_mrc.main, command, monkeypatch, train_mrc, "train_step", call, saved)
    assert_same_training(tmp_path / "run" / "best", tmp_path / "undisturbed" / "best")
    again = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["loss"] for line in again] == close_to([line["loss"] for line in lines])


def test_every_epoch_is_drawn_anew_and_the_seed_decides(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[frozenset[bytes]] = []
    original = train_mrc.train_step

    def note(run: train_mrc.Run, batch: dict[str, torch.Tensor]) -> None:
        rows = (row[row != run.tokenizer.pad_token_id] for row in batch["input_ids"])
        read.append(frozenset(row.cpu().numpy().tobytes() for row in rows))
        original(run, batch)

    monkeypatch.setattr(train_mrc, "train_step", note)
    train_mrc.main([*command, "--augment", "mask_word"])
    epochs = [frozenset.union(*read[start : start + 3]) for start in (0, 3, 6)]
    assert len(read) == 9 and len(set(epochs)) == 3
    read.clear()
    train_mrc.main([*command, "--augment", "mask_word", "--output_dir", str(tmp_path / "again")])
    assert [frozenset.union(*read[start : start + 3]) for start in (0, 3, 6)] == epochs


def test_the_title_prefix_goes_from_training_to_inference(
    command: list[str],
    tmp_path: Path,
    dataset_path: str,
    bert_tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def note(model, features, *args):
        read.append(bert_tokenizer.decode(features[0]["input_ids"]))
        return read_features(model, features, *args)

    monkeypatch.setattr(train_mrc, "read_features", note)
    monkeypatch.setattr(pipeline, "read_features", note)

    learned = ["--num_train_epochs", "60", "--learning_rate", "3e-3", "--backbone_dropout", "0"]
    metrics = train_mrc.main([*command, *learned, "--augment", "title_prefix", "--do_eval", "--eval_steps", "90"])
    assert metrics["eval_exact_match"] >= 80  # the validation questions are among the training questions
    titled = "[SEP] 세종 [UNK] 세종은 조선"  # the vocabulary has no colon
    assert read and all(titled in text for text in read)

    best = (tmp_path / "run" / "best").rename(tmp_path / "moved")
    assert load_reader(str(best)).config.title_prefix is True
    answer = ["--model", str(best), "--dataset_path", dataset_path, "--max_seq_len", "128", "--stride_len", "16"]
    answer += ["--analyzer", "bigram", "--index_dir", str(tmp_path / "index"), "--top_k_retrieval", "3"]
    corpus = load_corpus(f"{dataset_path}/wikipedia_documents.json")
    text_of = dict(zip(corpus.document_ids, corpus.texts, strict=True))
    for reading in ("separate", "joined"):
        read.clear()
        out = tmp_path / reading
        metrics = inference.main([*answer, "--do_eval", "--output_dir", str(out), "--passage_reading", reading])
        assert metrics["oracle_exact_match"] >= 80
        assert len(read) == 2 and all("[UNK]" in text for text in read)
        nbest = json.loads((out / "nbest_predictions.json").read_text(encoding="utf-8"))
        for answers in nbest.values():
            for found in answers:
                assert text_of[found["document_id"]][found["start"] : found["end"]] == found["text"]

    read.clear()
    train_mrc.main([*command, "--do_eval", "--output_dir", str(tmp_path / "plain")])
    assert load_reader(str(tmp_path / "plain" / "best")).config.title_prefix is False
    assert read and not any("[UNK]" in text for text in read)


def test_a_loss_over_all_passages_of_a_question(
    command: list[str], passages_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    sizes: list[list[int]] = []
    original = train_mrc.train_step

    def note(run: train_mrc.Run, batch: dict[str, torch.Tensor]) -> None:
        sizes.append(sorted(Counter(batch["questions"].tolist()).values()))
        original(run, batch)

    monkeypatch.setattr(train_mrc, "train_step", note)
    flags = ["--augment", "negative_passage", "--negative_passages_path", passages_path, "--negative_passages", "3"]
    train_mrc.main([*command, *flags, "--shared_normalization", "--do_eval", "--per_device_train_batch_size", "8"])
    assert sizes == [[4, 4]] * 18  # 12 questions, each with its passage and three without the answer
    best = str(tmp_path / "run" / "best")
    assert load_reader(best).config.reader_settings["shared_normalization"] is True

    log_lines.clear()
    answering = ["--model", best, *command[2:4], "--index_dir", str(tmp_path / "index"), "--analyzer", "bigram"]
    inference.main([*answering, "--do_eval", "--output_dir", str(tmp_path / "out"), "--top_k_retrieval", "3"])
    assert any("--shared_normalization True" in line for line in log_lines)

    second = [*command, "--model", best, "--output_dir", str(tmp_path / "second"), "--num_train_epochs", "1"]
    with pytest.raises(UserError, match=r"^--shared_normalization needs passages to compare"):
        train_mrc.main(second)
    assert not (tmp_path / "second" / "best").exists()
    monkeypatch.setattr(train_mrc, "train_step", original)
    train_mrc.main([*second, "--shared_normalization", "False"])
    assert load_reader(str(tmp_path / "second" / "best")).config.reader_settings["shared_normalization"] is False


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--shared_normalization", "--shared_normalization needs passages to compare: add --augment negative_passage"),
        ("--head passage_selection", "learns to select only with --shared_normalization: add it"),
        ("--augment_probability 0.3", "--augment_probability would be ignored"),
        ("--augment multiple_answers --augment_probability 0.3", "--augment_probability would be ignored"),
        ("--augment mask_word --augment_probability 1", "--augment_probability 1 must be above 0 and at most 0.9"),
        ("--augment mask_word --negative_passages 2", "--negative_passages would be ignored: only --augment negative"),
        (
            "--retriever_type get_retrieved_df",
            "--retriever_type has no effect in train_mrc.py; it is a flag of train_reranker",
        ),
        (
            "--augment negative_passage --retrieved_df_path x.csv",
            "--retrieved_df_path has no effect in train_mrc.py; it is a flag of inference.py",
        ),
        (
            "--augment mask_word --negative_passages_path x.csv",
            "--negative_passages_path would be ignored: only --augment negative_passage reads it",
        ),
        ("--augment negative_passage", "--augment negative_passage needs --negative_passages_path: the table of"),
        ("--augment negative_passage --negative_passages 0", "--negative_passages 0 must be at least 1"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(
    command: list[str], capsys: pytest.CaptureFixture[str], flags: str, complaint: str
) -> None:
    with pytest.raises(SystemExit):
        train_mrc.parse([*command, *flags.split()])
    assert complaint in capsys.readouterr().err


def test_an_unknown_augmentation_is_refused_before_anything_is_written(command: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose from: random_flip, mask_word"):
        train_mrc.main([*command, "--augment", "random_flop"])
    assert not (tmp_path / "run").exists()
