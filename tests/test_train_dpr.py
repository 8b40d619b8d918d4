"""train_dpr.py end to end on a tiny model: what it writes and keeps, how it resumes, and two processes as one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from comparing import ABSOLUTE, PROPORTIONAL_STEPS, assert_equal_weights, assert_same_training, close_to, weights
from forgetting import forget_accelerator
from killing import Killed, kill_and_resume, kill_at, resume
from launching import in_two_processes
from tiny_data import PASSAGES

import runtime.files
import train_dpr
from arguments import RetrieverArguments
from loading.corpus import load_corpus
from loading.dpr_json import read_dpr_json
from models.encoder import load_bi_encoder
from models.token_encoder import load_token_encoder
from retrieval import create_retriever
from runtime.errors import UserError
from runtime.files import newest, read_json
from runtime.tracking import read_metrics
from training.loop import TrainingLoop

SIDES = ("p_encoder", "q_encoder")
# 3 batches an epoch, of 5, 5 and 2 questions, are 2 optimizer steps
REFERENCE = ["--max_steps", "6", "--dpr_eval_steps", "2", "--chunk_size", "2", "--gradient_accumulation_steps", "2"]
REFERENCE += PROPORTIONAL_STEPS


@pytest.fixture(scope="module")
def index_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def make_command(encoder_path: str, dataset_path: str, index_dir: Path) -> Callable[[Path], list[str]]:
    """Return the flags of a run in a folder: 12 questions in batches of 5, dropout on."""

    def make(run: Path) -> list[str]:
        flags = {
            "dpr_model": encoder_path,
            "dataset_path": dataset_path,
            "retriever_dir": run,
            "index_dir": index_dir,
            "analyzer": "bigram",
            "dpr_train_batch": 5,
            "dpr_learning_rate": 1e-3,
            "passage_max_len": 64,
            "pooling": "mean",
            "logging_steps": 1,
            "precision": "fp32",
        }
        return [word for name, value in flags.items() for word in (f"--{name}", str(value))]

    return make


@pytest.fixture
def command(make_command: Callable[[Path], list[str]], tmp_path: Path) -> list[str]:
    return make_command(tmp_path / "run")


class Reference(NamedTuple):
    """A run that nothing disturbed, with what ``main`` returned."""

    run: Path
    metrics: dict[str, float]
    negatives: Path


@pytest.fixture(scope="module")
def reference(make_command: Callable[[Path], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    words = [*make_command(folder / "run"), *REFERENCE, "--write_dpr_json", str(folder / "own" / "train.json")]
    metrics = train_dpr.main(words)
    forget_accelerator()
    return Reference(folder / "run", metrics, folder / "own" / "train.json")


def _dropped(words: list[str], flag: str) -> list[str]:
    index = words.index(f"--{flag}")
    return words[:index] + words[index + 2 :]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line]


# ------------------------------------------------------------------------------------------------------ what it writes


def test_writes_exactly_these_files(reference: Reference) -> None:
    run, metrics, _ = reference
    assert {path.name for path in run.iterdir()} == {
        "arguments.json", "environment.json", "metrics.json", "metrics.jsonl", *SIDES, "resume", "README.md",
    }  # fmt: skip
    assert [path.name for path in (run / "resume").iterdir()] == ["step-00000006"]
    for side in SIDES:
        assert {path.name for path in (run / side).iterdir()} == {
            "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "encoder.json",
            "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "1_Pooling",
            "checksums.json",
        }  # fmt: skip
        assert read_json(run / side / "encoder.json")["pooling"] == "mean"
    assert read_json(run / "metrics.json") == metrics
    arguments = read_json(run / "arguments.json")
    assert arguments["dpr_train_batch"] == 5 and "output_dir" not in arguments
    environment = read_json(run / "environment.json")
    assert environment["processes"] == 1 and environment["data"].keys() == {"train", "evaluation", "corpus"}


def test_optimizer_steps_are_logged_and_the_best_by_recall_then_rank_is_kept(reference: Reference) -> None:
    lines = read_metrics(reference.run / "metrics.jsonl")
    trained = [line for line in lines if "loss" in line]
    assert [line["step"] for line in trained] == list(range(1, 7))
    assert [line["epoch"] for line in trained] == pytest.approx([2 / 3, 1, 5 / 3, 2, 8 / 3, 3])
    assert [line["learning_rate"] for line in trained] == pytest.approx([1e-3 * (6 - step) / 6 for step in range(6)])
    evaluations = [line for line in lines if "eval_loss" in line]
    assert [line["step"] for line in evaluations] == [2, 4, 6]
    best = max(evaluations, key=lambda line: (line["eval_recall@5"], line["eval_mrr@10"]))
    assert best == reference.metrics | {"time": best["time"]}


def test_the_evaluation_is_that_of_the_kept_encoders_over_the_whole_corpus(
    reference: Reference, dataset_path: str
) -> None:
    bi_encoder = load_bi_encoder(reference.run, RetrieverArguments())
    corpus = list(read_json(Path(dataset_path) / "wikipedia_documents.json").values())
    ranks = []
    with torch.no_grad():
        passages = bi_encoder.tokenize_passages([(passage["title"], passage["text"]) for passage in corpus])
        vectors = torch.cat([bi_encoder.embed_passages(bi_encoder.pad([row])) for row in passages])
        for article in read_json(Path(dataset_path) / "validation.json")["data"]:
            (paragraph,) = article["paragraphs"]
            (row,) = bi_encoder.tokenize_questions([paragraph["qas"][0]["question"]])
            scores = vectors @ bi_encoder.embed_questions(bi_encoder.pad([row]))[0]
            gold = [passage["text"] for passage in corpus].index(paragraph["context"])
            ranks.append(1 + int((scores > scores[gold]).sum()))
    for k in (1, 5, 20, 100):
        assert reference.metrics[f"eval_recall@{k}"] == pytest.approx(100 * np.mean(np.array(ranks) <= k))
    assert reference.metrics["eval_mrr@10"] == pytest.approx(100 * np.mean(1 / np.array(ranks)))


# ------------------------------------------------------------------------------------------------------ how it trains


def test_learns_the_training_questions(command: list[str], tmp_path: Path) -> None:
    flags = ["--dpr_epochs", "30", "--dpr_eval_steps", "90", "--dpr_dropout", "0", "--dpr_learning_rate", "3e-3"]
    metrics = train_dpr.main([*command, *flags])
    seen = losses(tmp_path / "run")
    assert len(seen) == 90 and np.mean(seen[-3:]) < np.mean(seen[:3]) / 4
    assert metrics["eval_recall@1"] == 100  # the validation questions are among the training questions


def test_two_encoders_are_trained_whole(reference: Reference, encoder_path: str) -> None:
    start, sides = weights(Path(encoder_path)), [weights(reference.run / side) for side in SIDES]
    for trained in sides:
        assert not any(torch.equal(trained[name], value) for name, value in start.items())
    assert not any(torch.equal(sides[0][name], sides[1][name]) for name in start)


def test_one_encoder_for_both_with_embeddings_that_stand_still(
    command: list[str], tmp_path: Path, encoder_path: str
) -> None:
    flags = ["--shared_encoder", "true", "--dpr_freeze_embeddings", "true", "--max_steps", "1", "--dpr_dropout", "0"]
    train_dpr.main([*command, *flags])
    start, trained = weights(Path(encoder_path)), weights(tmp_path / "run" / "p_encoder")
    assert_equal_weights(*(tmp_path / "run" / side for side in SIDES))
    equal = {name for name, value in start.items() if torch.equal(trained[name], value)}
    assert equal == {"embeddings.word_embeddings.weight"}
    again = load_bi_encoder(tmp_path / "run", RetrieverArguments())
    assert again.q_encoder is again.p_encoder
    pair = tmp_path / "pair"
    (tmp_path / "run").rename(pair)
    for side in SIDES:
        settings = read_json(pair / side / "encoder.json") | {"shared": False}
        (pair / side / "encoder.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"--shared_encoder: .* holds two encoders"):
        train_dpr.main([*command, *flags, "--dpr_model", str(pair)])


def test_bf16_is_near_fp32_and_keeps_its_weights_in_full(
    command: list[str], tmp_path: Path, reference: Reference
) -> None:
    train_dpr.main([*command, *REFERENCE, "--max_steps", "1", "--precision", "bf16"])
    (loss,), full = losses(tmp_path / "run"), losses(reference.run)[0]
    assert loss != full and loss == pytest.approx(full, rel=0.01)
    assert {value.dtype for value in weights(tmp_path / "run" / "q_encoder").values()} == {torch.float32}


def test_stops_early_when_neither_recall_nor_rank_gets_better(
    command: list[str], tmp_path: Path, log_lines: list[str]
) -> None:
    flags = ["--dpr_learning_rate", "1e-12", "--dpr_eval_steps", "1", "--early_stopping_patience", "2"]
    metrics = train_dpr.main([*command, *flags])
    assert "INFO stopped: 2 evaluations in a row got no better" in log_lines
    assert metrics["step"] == 1 and read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 3


# ---------------------------------------------------------------------------------------------------------- negatives


def test_mined_negatives_hold_no_answer(reference: Reference) -> None:
    written = read_dpr_json(reference.negatives)
    assert len(written) == 12 and all(example.negatives for example in written)
    assert all(answer not in n.text for example in written for n in example.negatives for answer in example.answers)


def test_a_second_round_mines_what_the_given_encoders_find(
    command: list[str],
    tmp_path: Path,
    reference: Reference,
    dataset_path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.device.resolve_precision", lambda *_: "fp32")  # bf16 may rank near scores otherwise
    flags = ["--mine_from", "dense", "--dpr_model", str(reference.run), "--mining_depth", "4", "--max_steps", "1"]
    train_dpr.main([*_dropped(command, "analyzer"), *flags, "--write_dpr_json", str(tmp_path / "second.json")])
    bi_encoder = load_bi_encoder(reference.run, RetrieverArguments())
    corpus = list(read_json(Path(dataset_path) / "wikipedia_documents.json").values())
    with torch.no_grad():
        rows = bi_encoder.tokenize_passages([(passage["title"], passage["text"]) for passage in corpus])
        vectors = bi_encoder.embed_passages(bi_encoder.pad(rows))  # (N, H)
        mined = read_dpr_json(tmp_path / "second.json")
        assert len(mined) == 12 and all(example.negatives for example in mined)
        for example in mined:
            (asked,) = bi_encoder.embed_questions(bi_encoder.pad(bi_encoder.tokenize_questions([example.question])))
            found = [corpus[row] for row in (vectors @ asked).argsort(descending=True)[:4]]
            wrong = [p["text"] for p in found if example.answers[0] not in f"{p['title']} {p['text']}"]
            assert [passage.text for passage in example.negatives] == wrong


def test_dpr_json_alone_is_enough(
    command: list[str], tmp_path: Path, reference: Reference, log_lines: list[str]
) -> None:
    words = [*command, "--dataset_path", str(reference.negatives.parent), "--index_dir", str(tmp_path / "unused")]
    metrics = train_dpr.main([*words, "--max_steps", "2"])
    assert metrics == {"step": 2}
    assert not (tmp_path / "unused").exists()  # it brings its negatives along
    assert any(line.startswith("WARNING nothing is evaluated, the last encoders are kept: ") for line in log_lines)


def test_a_final_fit_on_all_questions(command: list[str], tmp_path: Path, dataset_path: str) -> None:
    own = f"{dataset_path}/test_answers.json"
    flags = ["--concat_eval", "true", "--test_eval_dataset_path", own, "--dpr_train_batch", "6", "--dpr_epochs", "1"]
    metrics = train_dpr.main([*command, *flags])
    assert metrics["step"] == 3 and "eval_recall@5" in metrics  # 12 + 6 questions in batches of 6


# ------------------------------------------------------------------------------------------------------- token vectors

TOKENS = ["--interaction", "multi", "--token_width", "16"]


def test_token_vectors_are_trained_evaluated_over_the_whole_corpus_and_resumed(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset_path: str
) -> None:
    words = [*_dropped(command, "pooling"), *TOKENS, *REFERENCE]
    metrics = train_dpr.main(words)
    run, other = tmp_path / "run", tmp_path / "other"
    assert {path.name for path in run.iterdir()} == {
        "arguments.json", "environment.json", "metrics.json", "metrics.jsonl", "token_encoder", "resume", "README.md",
    }  # fmt: skip
    again = [*_dropped(words, "retriever_dir"), "--retriever_dir", str(other)]
    assert kill_and_resume(train_dpr.main, again, monkeypatch, train_dpr, "train_step", 5, 2) == close_to(metrics)
    for part in ("token_encoder", "token_encoder/1_Dense"):
        assert_same_training(run / part, other / part)

    encoder = load_token_encoder(run)
    corpus = list(read_json(Path(dataset_path) / "wikipedia_documents.json").values())
    passages = encoder.encode_passages([(passage["title"], passage["text"]) for passage in corpus], 8, "fp32")
    ranks = []
    for article in read_json(Path(dataset_path) / "validation.json")["data"]:
        (paragraph,) = article["paragraphs"]
        (asked,) = encoder.encode_questions([paragraph["qas"][0]["question"]], 8, "fp32")
        scores = np.array([(asked @ passage.T).max(axis=1).sum() for passage in passages])
        gold = [passage["text"] for passage in corpus].index(paragraph["context"])
        ranks.append(1 + int((scores > scores[gold]).sum()))
    assert metrics["eval_recall@1"] == pytest.approx(100 * np.mean(np.array(ranks) <= 1))
    assert metrics["eval_mrr@10"] == pytest.approx(100 * np.mean(1 / np.array(ranks)))


def test_token_vectors_learn_the_training_questions(command: list[str], tmp_path: Path) -> None:
    flags = ["--dpr_epochs", "12", "--dpr_eval_steps", "36", "--dpr_dropout", "0", "--dpr_learning_rate", "3e-3"]
    metrics = train_dpr.main([*_dropped(command, "pooling"), *TOKENS, *flags])
    seen = losses(tmp_path / "run")
    assert np.mean(seen[-3:]) < np.mean(seen[:3]) / 4
    assert metrics["eval_recall@1"] == 100


def test_a_second_round_mines_what_the_token_vectors_find(
    command: list[str], tmp_path: Path, dataset_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.device.resolve_precision", lambda *_: "fp32")  # bf16 may rank near scores otherwise
    first, second, mined = (str(tmp_path / name) for name in ("first", "second", "mined.json"))
    words = [*_dropped(_dropped(command, "pooling"), "retriever_dir"), *TOKENS, "--max_steps", "1"]
    train_dpr.main([*words, "--retriever_dir", first])
    forget_accelerator()
    words = [*_dropped(_dropped(words, "analyzer"), "dpr_model"), "--mine_from", "dense", "--mining_depth", "4"]
    train_dpr.main([*words, "--dpr_model", first, "--retriever_dir", second, "--write_dpr_json", mined])
    retriever = create_retriever(RetrieverArguments(retriever_type="MultiVectorRetrieval", retriever_dir=first))
    corpus = load_corpus(Path(dataset_path) / "wikipedia_documents.json")
    retriever.build(corpus)
    examples = read_dpr_json(Path(mined))
    assert len(examples) == 12 and all(example.negatives for example in examples)
    for example, rows in zip(examples, retriever.search([one.question for one in examples], 4).ids, strict=True):
        found = [(corpus.titles[row], corpus.texts[row]) for row in rows]
        wrong = [text for title, text in found if example.answers[0] not in f"{title} {text}"]
        assert [passage.text for passage in example.negatives] == wrong


def scores_of(negatives: Path, path: Path, good: float, bad: float) -> Path:
    """Write a teacher's scores: ``good`` of the positive, ``bad`` of four negatives; none of the first question."""
    rows = []
    for example in read_dpr_json(negatives)[1:]:
        scored = [(example.positive, good), *((passage, bad) for passage in example.negatives[:4])]
        passages = [
            {"id": str(n), "title": one.title, "text": one.text, "score": score}
            for n, (one, score) in enumerate(scored)
        ]
        rows.append({"id": example.id, "question": example.question, "passages": passages})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("interaction", ["single", "multi"])
def test_a_teacher_is_learnt_from(
    interaction: str, command: list[str], reference: Reference, tmp_path: Path, log_lines: list[str]
) -> None:
    words = command if interaction == "single" else [*_dropped(command, "pooling"), *TOKENS]
    words = [*_dropped(_dropped(words, "analyzer"), "index_dir"), "--max_steps", "1", "--dpr_dropout", "0"]
    first = {}
    for name, good in (("sure", 9.0), ("unsure", 0.0)):
        scores = scores_of(reference.negatives, tmp_path / f"{name}.jsonl", good, 0.0)
        train_dpr.main([*words, "--retriever_dir", str(tmp_path / name), "--distil_from", str(scores)])
        forget_accelerator()
        first[name] = losses(tmp_path / name)[0]
    assert first["sure"] > first["unsure"]  # of an untrained student, to whom all passages are about as good
    assert f"WARNING --distil_from {scores}: 1 of 12 questions have no scores" in log_lines

    other = tmp_path / "other.jsonl"
    other.write_text(
        scores.read_text(encoding="utf-8").replace('"question": "', '"question": "다른 '), encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"--distil_from .* scores none of the 12 training questions: write it with"):
        train_dpr.main([*words, "--retriever_dir", str(tmp_path / "none"), "--distil_from", str(other)])


# ------------------------------------------------------------------------------------------------------------- killed


@pytest.mark.parametrize(
    ("owner", "function", "call", "saved"),
    [
        (train_dpr, "train_step", 5, 2), (train_dpr, "evaluate", 2, 2), (TrainingLoop, "save_state", 2, 2),
        (train_dpr, "keep", 1, None), (train_dpr, "save", 1, 6),
    ],
)  # fmt: skip
def test_killed_anywhere_and_resumed_gives_the_same_weights(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: Reference,
    owner: Any,
    function: str,
    call: int,
    saved: int | None,
) -> None:
    metrics = kill_and_resume(train_dpr.main, [*command, *REFERENCE], monkeypatch, owner, function, call, saved)
    assert metrics == close_to(reference.metrics)
    assert_as_undisturbed(tmp_path / "run", reference)


def test_killed_between_the_two_encoders_both_are_of_the_new_step(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: Reference
) -> None:
    run = tmp_path / "run"
    # seven replacements to keep a pair (two encoders, all at once, four in place), one for a state
    replaced, best = 0, (-1.0, -1.0)
    for line in read_metrics(reference.run / "metrics.jsonl"):
        if "eval_loss" in line and line["step"] < reference.metrics["step"]:
            scores = line["eval_recall@5"], line["eval_mrr@10"]
            replaced, best = replaced + 1 + 7 * (scores > best), max(scores, best)
    with monkeypatch.context() as patch:
        patch.setattr(runtime.files.shutil, "rmtree", lambda *_, **__: None)  # a signal leaves no time to clean up
        kill_at(patch, runtime.files, "_replace", replaced + 7)
        with pytest.raises(Killed):
            train_dpr.main([*command, *REFERENCE])
    assert (run / ".coming" / "q_encoder").is_dir() and not (run / ".coming" / "p_encoder").exists()
    half, whole = (load_bi_encoder(folder, RetrieverArguments()).state_dict() for folder in (run, reference.run))
    assert all(torch.equal(half[name], value) for name, value in whole.items())
    assert read_json(newest(run, "metrics.json")) == reference.metrics
    saved = reference.metrics["step"] - 2  # the evaluation before
    assert resume(train_dpr.main, [*command, *REFERENCE], monkeypatch, saved or None) == close_to(reference.metrics)
    assert_as_undisturbed(run, reference)


def assert_as_undisturbed(run: Path, reference: Reference) -> None:
    assert {path.name for path in run.iterdir()} == {path.name for path in reference.run.iterdir()}
    for side in SIDES:
        assert_same_training(run / side, reference.run / side)
    assert_same_training(*(next((folder / "resume").iterdir()) for folder in (run, reference.run)))
    resumed, undisturbed = (read_metrics(folder / "metrics.jsonl") for folder in (run, reference.run))
    assert [line["step"] for line in resumed] == [line["step"] for line in undisturbed]
    for line, expected in zip(resumed, undisturbed, strict=True):
        del line["time"], expected["time"]
        assert line == close_to(expected) if "eval_loss" in expected else line["loss"] == close_to(expected["loss"])


def test_a_named_run_has_a_folder_of_its_own_in_the_retriever_dir(command: list[str], tmp_path: Path) -> None:
    one_step = [*command, "--max_steps", "1", "--run_name", "first", "--logging_dir", str(tmp_path / "logs")]
    train_dpr.main(one_step)
    run = tmp_path / "run" / "first"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["first"]
    assert {path.name for path in run.iterdir()} >= {*SIDES, "metrics.json", "arguments.json", "resume"}
    assert [path.name for path in (tmp_path / "logs" / "first").iterdir()] == ["metrics.jsonl"]
    arguments = read_json(run / "arguments.json")
    assert (arguments["run_name"], arguments["retriever_dir"]) == ("first", str(tmp_path / "run"))
    with pytest.raises(UserError, match=r"--retriever_dir .*first already holds a run"):
        train_dpr.main(one_step)
    train_dpr.main([*one_step, "--resume_from_checkpoint", "true"])
    path = tmp_path / "logs" / "first" / "metrics.jsonl" / "train.json"
    with pytest.raises(UserError, match=r"--write_dpr_json .* cannot be written: .*metrics.jsonl is not a folder"):
        train_dpr.main([*_dropped(one_step, "run_name"), "--write_dpr_json", str(path)])


# -------------------------------------------------------------------------------------------------- flags and folders


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--output_dir x", "--output_dir is not a flag of train_dpr.py: use --retriever_dir"),
        ("--learning_rate 1", "--learning_rate is not a flag of train_dpr.py: use --dpr_learning_rate"),
        ("--do_eval", "--do_eval has no effect in train_dpr.py: every --dpr_eval_steps it evaluates, "),
        ("--hard_negatives 0 --mine_from dense", "--mine_from would be ignored: --hard_negatives 0 mines nothing"),
        ("--mine_from dense --bm25_b 0.5", "--bm25_b would be ignored: --mine_from dense counts no terms"),
        ("--max_steps 3 --dpr_epochs 2", "--dpr_epochs would be ignored: --max_steps replaces it"),
    ],
)
def test_what_would_be_ignored_is_refused(flags: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_dpr.parse(flags.split())
    assert complaint in capsys.readouterr().err


def test_flags_of_mining_encoders_and_evaluation_are_taken() -> None:
    words = "--analyzer bigram --bm25_k1 1.2 --pooling mean --max_eval_samples 3 --test_eval_dataset_path x"
    args = train_dpr.parse(words.split())
    assert (args.analyzer, args.pooling, args.max_eval_samples) == ("bigram", "mean", 3)


def test_a_run_is_not_overwritten_unasked(command: list[str], reference: Reference) -> None:
    with pytest.raises(UserError, match=f"--retriever_dir {reference.run} already holds a run: "):
        train_dpr.main([*command, "--retriever_dir", str(reference.run)])


# ------------------------------------------------------------------------------------------------------ two processes


@pytest.mark.parametrize("interaction", ["single", "multi"])
def test_two_processes_train_as_one_on_the_joint_batch(interaction: str, command: list[str], tmp_path: Path) -> None:
    if interaction == "multi":
        command = [*_dropped(command, "pooling"), *TOKENS]
    # the last batch is of one question; a large epsilon makes steps proportional to gradients, whatever their size
    flags = [*command, "--dpr_dropout", "0", "--dpr_train_batch", "11", "--chunk_size", "2", "--dpr_epochs", "1"]
    flags += ["--adam_epsilon", "1", "--dpr_learning_rate", "0.1", "--lr_scheduler_type", "constant"]
    train_dpr.main([*flags, "--retriever_dir", str(tmp_path / "one")])
    in_two_processes("train_dpr.py", flags)
    assert read_json(tmp_path / "run" / "environment.json")["processes"] == 2
    one, two = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "run"))
    assert len(one) == len(two) == 3
    for single, joint in zip(one, two, strict=True):
        for line in (single, joint):
            line.pop("examples_per_second", None), line.pop("time")
        assert joint == close_to(single)
    for part in SIDES if interaction == "single" else ("token_encoder", "token_encoder/1_Dense"):
        assert_equal_weights(tmp_path / "one" / part, tmp_path / "run" / part, atol=ABSOLUTE)


def test_positives_are_the_chunks_that_hold_an_answer(command: list[str], tmp_path: Path, dataset_path: str) -> None:
    flags = ["--chunk", "sentences", "--corpus_chunk_size", "1", "--chunk_size", "2", "--max_steps", "1"]
    train_dpr.main([*command, *flags, "--write_dpr_json", str(tmp_path / "dpr.json")])
    passages = {title: text for title, text in PASSAGES}
    for example in read_dpr_json(tmp_path / "dpr.json"):
        assert all(answer in example.positive.text for answer in example.answers)
        assert example.positive.text in passages[example.positive.title]
        assert len(example.positive.text) < len(passages[example.positive.title])
        assert not {example.positive.title} & {negative.title for negative in example.negatives}  # nor other chunks
    recall = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert 0 <= recall["eval_recall@1"] <= recall["eval_recall@100"] == 100  # every gold chunk is in the corpus
