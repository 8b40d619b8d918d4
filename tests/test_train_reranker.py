"""train_reranker.py end to end on a tiny model: its files, what it learns, and that a killed run goes on unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import PROPORTIONAL_STEPS, assert_equal_weights, assert_same_training, close_to, weights
from killing import kill_and_resume
from overflowing import overflow_once
from sentence_transformers import CrossEncoder as TheirCrossEncoder

import train_reranker
from loading.corpus import load_corpus
from loading.dpr_json import Passage, RetrievalExample, write_dpr_json
from loading.questions import load_retrieval_examples
from loading.retrieval_examples import wrong_passages
from loading.teacher_scores import TeacherScores, write_teacher_scores
from models.cross_encoder import Pair, load_cross_encoder
from retrieval.training import corpus_passages
from runtime.errors import UserError
from runtime.tracking import read_metrics


@pytest.fixture
def command(encoder_path: str, dataset_path: str, tmp_path: Path) -> list[str]:
    """12 questions in batches of 4, so 3 steps an epoch, 2 epochs, dropout on."""
    flags = {
        "reranker_model": encoder_path,
        "dataset_path": dataset_path,
        "output_dir": tmp_path / "run",
        "index_dir": tmp_path / "index",
        "analyzer": "bigram",
        "reranker_max_len": 128,
        "hard_negatives": 2,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "eval_steps": 2,
        "precision": "fp32",
    }
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


def test_writes_exactly_these_files_and_measures_before_and_after(command: list[str], tmp_path: Path) -> None:
    metrics = train_reranker.main([*command, "--do_eval", "--rerank_depth", "3"])
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        "arguments.json", "environment.json", "metrics.json", "metrics.jsonl", "best", "resume"
    }  # fmt: skip
    assert {path.name for path in (run / "best").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "reranker.json", "modules.json",
        "sentence_bert_config.json", "config_sentence_transformers.json",
        "arguments.json", "environment.json", "metrics.json", "README.md", "checksums.json",
    }  # fmt: skip
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert metrics["before_recall@1"] == 100 and 0 < metrics["eval_mrr@10"] <= 100  # BM25 finds all of the sample
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    evaluated = {line["step"]: line["eval_mrr@10"] for line in lines if "eval_mrr@10" in line}
    assert list(evaluated) == [2, 4, 6]
    assert evaluated[metrics["step"]] == metrics["eval_mrr@10"] == max(evaluated.values())
    settings = load_cross_encoder(str(run / "best")).settings
    assert (settings.max_len, settings.title_prefix) == (128, True)


def test_the_best_opens_in_sentence_transformers_with_equal_scores(command: list[str], tmp_path: Path) -> None:
    train_reranker.main([*command, "--num_train_epochs", "0.3"])
    best = str(tmp_path / "run" / "best")
    pairs = [
        Pair("왕은 누구인가?", *passage) for passage in (("세종", "세종은 왕이다."), ("서울", "한강이 흐른다. " * 20))
    ]
    scores = load_cross_encoder(best).score(pairs, precision="fp32")
    theirs = TheirCrossEncoder(best, device="cpu")
    assert theirs.max_seq_length == 128
    found = theirs.predict([(pair.question, f"{pair.title}: {pair.text}") for pair in pairs])
    np.testing.assert_allclose(found, scores, atol=1e-5)


def test_learns_to_tell_passages_apart(command: list[str], tmp_path: Path, reranker_path: str) -> None:
    flags = ["--reranker_model", reranker_path, "--num_train_epochs", "8", "--lr_scheduler_type", "constant"]
    train_reranker.main([*command, *flags, "--reranker_dropout", "0", "--hard_negatives", "3"])
    losses = [line["loss"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[:3]) / 3 > 1.2  # about ln 4: no idea which of four
    assert sum(losses[-3:]) / 3 < 0.4


def test_a_teachers_scores_are_learnt_from_a_file_or_from_its_reading(
    command: list[str], tmp_path: Path, dataset_path: str, reranker_path: str
) -> None:
    """Both are the same training: the file holds what the teacher says of every passage that is drawn."""
    teacher, questions = load_cross_encoder(reranker_path), load_retrieval_examples(dataset_path, ["train"])["train"]
    corpus = corpus_passages(load_corpus(Path(dataset_path) / "wikipedia_documents.json"))
    scored = []
    for example in questions:
        wrong = wrong_passages(example, corpus)
        passages = [example.positive, *wrong]
        pairs = [Pair(example.question, passage.title, passage.text) for passage in passages]
        scores = teacher.score(pairs, precision="fp32").tolist()
        scored.append((example.id, TeacherScores(example.question, passages, scores)))
    write_teacher_scores(tmp_path / "scores.jsonl", scored)
    write_dpr_json(tmp_path / "taught" / "train.json", [
        example._replace(negatives=wrong_passages(example, corpus)) for example in questions
    ])  # fmt: skip
    command += ["--reranker_dropout", "0", "--num_train_epochs", "1.3", *PROPORTIONAL_STEPS]
    train_reranker.main([*command, "--teacher_scores", str(tmp_path / "scores.jsonl")])
    taught = ["--dataset_path", str(tmp_path / "taught"), "--context_path", f"{dataset_path}/wikipedia_documents.json"]
    taught += ["--teacher", reranker_path]
    train_reranker.main([*command, *taught, "--output_dir", str(tmp_path / "reading")])
    losses = [[line["loss"] for line in read_metrics(tmp_path / run / "metrics.jsonl")] for run in ("run", "reading")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    train_reranker.main([*command, *taught, "--reranker_model", reranker_path, "--output_dir", str(tmp_path / "own")])
    own = [line["loss"] for line in read_metrics(tmp_path / "own" / "metrics.jsonl")]
    assert max(own) < 1e-6 < 0.01 < min(losses[0])  # who is taught by itself has nothing to learn


def test_a_file_about_other_questions_is_refused(command: list[str], tmp_path: Path) -> None:
    scores = TeacherScores("다른 질문?", [Passage("", "글")], [1.0])
    write_teacher_scores(tmp_path / "scores.jsonl", [("none", scores)])
    with pytest.raises(UserError, match=r"--teacher_scores .* scores none of the 12 training questions: write it with"):
        train_reranker.main([*command, "--teacher_scores", str(tmp_path / "scores.jsonl")])


def test_frozen_embeddings_stay_and_the_rest_is_trained(command: list[str], tmp_path: Path, encoder_path: str) -> None:
    train_reranker.main([*command, "--reranker_freeze_embeddings", "true", "--num_train_epochs", "0.3"])
    before, after = weights(Path(encoder_path)), weights(tmp_path / "run" / "best")
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(after[f"bert.{name}"], before.pop(name))
    assert not any(torch.equal(after[f"bert.{name}"], value) for name, value in before.items())


@pytest.mark.parametrize(("function", "call", "saved"), [("train_step", 4, 2), ("evaluate", 2, 1), ("save", 1, 4)])
def test_killed_anywhere_and_resumed_gives_the_same_weights(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, call: int, saved: int
) -> None:
    command += ["--do_eval", "--rerank_depth", "3", "--gradient_accumulation_steps", "2", "--eval_steps", "1"]
    command += PROPORTIONAL_STEPS
    train_reranker.main([*command, "--output_dir", str(tmp_path / "undisturbed")])
    kill_and_resume(train_reranker.main, command, monkeypatch, train_reranker, function, call, saved)
    run, reference = tmp_path / "run", tmp_path / "undisturbed"
    assert {path.name for path in run.iterdir()} == {path.name for path in reference.iterdir()}
    assert_same_training(run / "best", reference / "best")
    assert_same_training(*(next((folder / "resume").iterdir()) for folder in (run, reference)))
    logged = [read_metrics(folder / "metrics.jsonl") for folder in (run, reference)]
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in logged]
    assert losses[0] == close_to(losses[1])


def test_a_step_that_overflowed_is_skipped_and_the_schedule_waits_for_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overflow_once(monkeypatch)
    train_reranker.main(command)
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert rates == pytest.approx([1e-3, *(1e-3 * left / 6 for left in (6, 5, 4, 3, 2))])
    assert all(value.isfinite().all() for value in weights(tmp_path / "run" / "best").values())


def test_steps_are_counted_in_accumulated_batches(command: list[str], tmp_path: Path) -> None:
    train_reranker.main([*command, "--gradient_accumulation_steps", "2"])
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]  # 3 batches an epoch: 2 steps, the second of one batch
    assert [line["learning_rate"] for line in lines] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert [line["epoch"] for line in lines] == pytest.approx([2 / 3, 1, 5 / 3, 2])


def test_two_halves_accumulated_are_one_batch(command: list[str], tmp_path: Path) -> None:
    same = ["--num_train_epochs", "0.6", "--reranker_dropout", "0", "--lr_scheduler_type", "constant"]
    same += PROPORTIONAL_STEPS
    for name, size, accumulation in (("whole", "4", "1"), ("halves", "2", "2")):
        sizes = ["--per_device_train_batch_size", size, "--gradient_accumulation_steps", accumulation]
        train_reranker.main([*command, *same, *sizes, "--output_dir", str(tmp_path / name)])
    assert_equal_weights(tmp_path / "whole" / "best", tmp_path / "halves" / "best", atol=2e-5)


def test_negatives_of_dpr_json_are_taken_and_only_the_others_mined(
    command: list[str], tmp_path: Path, dataset_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, own = Passage("서울", "한강이 서울의 가운데를 흐른다."), Passage("", "강이 없는 글이다.")
    examples = [
        RetrievalExample("a", "서울을 흐르는 강은?", ["한강"], positive, [own]),
        RetrievalExample("b", "이순신이 만든 배의 이름은?", ["거북선"], Passage("", "거북선은 배이다."), []),
    ]
    write_dpr_json(tmp_path / "train.json", examples)
    seen = []
    original = train_reranker.TrainingQuestions
    monkeypatch.setattr(train_reranker, "TrainingQuestions", lambda *args: seen.append(args) or original(*args))
    flags = ["--dataset_path", str(tmp_path / "train.json")]
    flags += ["--context_path", f"{dataset_path}/wikipedia_documents.json"]
    train_reranker.main([*command, *flags])
    ((with_negatives, *_),) = seen
    assert with_negatives[0].negatives == [own]
    assert with_negatives[1].negatives and not any("거북선" in passage.text for passage in with_negatives[1].negatives)


def test_a_negative_that_is_a_positive_is_no_negative_and_others_are_mined(
    command: list[str], tmp_path: Path, dataset_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive = Passage("서울", "한강이 서울의 가운데를 흐른다.")
    same = Passage("강", "한강이  서울의 가운데를 흐른다.\u200b")
    example = RetrievalExample("a", "서울을 흐르는 강은?", ["한강"], positive, [same])
    write_dpr_json(tmp_path / "train.json", [example])
    seen = []
    original = train_reranker.TrainingQuestions
    monkeypatch.setattr(train_reranker, "TrainingQuestions", lambda *args: seen.append(args) or original(*args))
    flags = ["--dataset_path", str(tmp_path / "train.json")]
    flags += ["--context_path", f"{dataset_path}/wikipedia_documents.json"]
    train_reranker.main([*command, *flags])
    ((examples, *_),) = seen
    assert examples[0].negatives and same not in examples[0].negatives


def test_a_passage_that_is_there_twice_is_right_twice(command: list[str], tmp_path: Path, dataset_path: str) -> None:
    passages = json.loads((Path(dataset_path) / "wikipedia_documents.json").read_text(encoding="utf-8"))
    again = {
        f"again {key}": row | {"title": "", "text": f"{row['text']}\u200b ", "document_id": None}
        for key, row in passages.items()
    }
    path = tmp_path / "passages.json"
    path.write_text(json.dumps(again | passages), encoding="utf-8")
    flags = ["--context_path", str(path), "--do_eval", "--rerank_depth", "2", "--num_train_epochs", "0.3"]
    metrics = train_reranker.main([*command, *flags])
    assert metrics["before_mrr@10"] == metrics["eval_mrr@10"] == 100


def test_flags_without_effect_are_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_reranker.main([*command, "--max_seq_len", "100", "--mine_from", "dense", "--rerank_depth", "3"])
    message = capsys.readouterr().err
    assert "--max_seq_len is not a flag of train_reranker.py: use --reranker_max_len" in message
    assert "--mine_from has no effect in train_reranker.py; it is a flag of train_dpr.py" in message
    assert "--rerank_depth would be ignored: nothing is re-ordered without an evaluation: add --do_eval" in message
    with pytest.raises(SystemExit):
        train_reranker.main([*command, "--hard_negatives", "0"])
    assert "--hard_negatives 0 leaves no passage to tell the right one from" in capsys.readouterr().err


def test_a_run_is_not_overwritten_unasked(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    with pytest.raises(UserError, match="already holds a run: continue it with --resume_from_checkpoint true"):
        train_reranker.main(command)


def test_trains_on_the_chunks_of_a_corpus(command: list[str]) -> None:
    chunks = ["--chunk", "tokens", "--chunk_size", "24", "--chunk_overlap", "8"]
    metrics = train_reranker.main([*command, *chunks, "--do_eval", "--rerank_depth", "50"])
    assert metrics["before_mrr@10"] > 50  # the chunks that hold the answers are found
