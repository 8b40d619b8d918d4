"""inference.py end to end on a tiny reader that was trained to know the sample's answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from comparing import close_to
from datasets import Dataset, DatasetDict
from killing import leave_half_written
from launching import start_two_processes
from tiny_data import QUESTIONS

import inference
from loading.corpus import load_corpus
from processor import QAProcessor
from reading.metrics import mean_scores
from reading.postprocessing import DEFAULT_RULES
from retrieval.bm25 import SparseRetrieval_BM25P
from runtime.errors import DataError, UserError
from runtime.locks import claimed


@pytest.fixture
def command(trained_reader: str, dataset_path: str, tmp_path: Path) -> list[str]:
    flags = {
        "model": trained_reader,
        "dataset_path": dataset_path,
        "output_dir": tmp_path / "out",
        "index_dir": tmp_path / "index",
        "max_seq_len": 128,
        "stride_len": 16,
        "precision": "fp32",
        "analyzer": "bigram",
        "top_k_retrieval": 3,
    }
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


def without(command: list[str], *flags: str) -> list[str]:
    pairs = zip(command[::2], command[1::2], strict=True)
    return [word for flag, value in pairs if flag.removeprefix("--") not in flags for word in (flag, value)]


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def assert_same_answers(found: Path, expected: Path) -> None:
    """Assert that two folders hold the same predictions, of the same candidates that are worth a mention."""
    assert read_json(found / "predictions.json") == read_json(expected / "predictions.json")
    probable = [
        {
            (question, answer["document_id"], answer["start"], answer["end"]): answer["probability"]
            for question, answers in read_json(folder / "nbest_predictions.json").items()
            for answer in answers
            if answer["probability"] > 0.01
        }
        for folder in (found, expected)
    ]
    assert probable[0] == close_to(probable[1])


def test_predict_writes_one_answer_per_question_in_order(command: list[str], tmp_path: Path, dataset_path: str) -> None:
    assert inference.main([*command, "--do_predict"]) == {}
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "predictions.json", "nbest_predictions.json", "retrieved_passages.csv", "arguments.json", "environment.json"
    }  # fmt: skip
    ids = [f"test-{number}" for number in range(6)]
    predictions, nbest = read_json(out / "predictions.json"), read_json(out / "nbest_predictions.json")
    assert list(predictions) == list(nbest) == ids
    assert "\\u" not in (out / "predictions.json").read_text(encoding="utf-8")
    corpus = load_corpus(f"{dataset_path}/wikipedia_documents.json")
    text_of = dict(zip(corpus.document_ids, corpus.texts, strict=True))
    for question, answers in nbest.items():
        assert predictions[question] == answers[0]["text"]
        assert sum(answer["probability"] for answer in answers) <= 1 + 1e-6
        assert [a["probability"] for a in answers] == sorted((a["probability"] for a in answers), reverse=True)
        for answer in answers:
            assert text_of[answer["document_id"]][answer["start"] : answer["end"]] == answer["text"]
    retrieved = pd.read_csv(out / "retrieved_passages.csv", dtype={"document_id": str})
    assert list(retrieved.columns)[:7] == ["id", "question", "rank", "document_id", "title", "context", "score"]
    assert list(retrieved["id"]) == [question for question in ids for _ in range(3)]
    assert list(retrieved["rank"]) == [1, 2, 3] * 6


def test_eval_scores_retrieval_oracle_and_end_to_end(
    command: list[str], tmp_path: Path, dataset_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = inference.main([*command, "--do_eval", "--dataset_path", f"{dataset_path}/test_answers.json"])
    assert metrics["oracle_exact_match"] >= 80  # the reader was trained on these questions
    assert metrics["hit@3"] == 100 and metrics["hit@1"] <= metrics["hit@3"]
    gold = read_json(Path(dataset_path) / "test_answers.json")["data"]
    references = {
        qa["id"]: [answer["text"] for answer in qa["answers"]]
        for article in gold
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    end_to_end = mean_scores(read_json(tmp_path / "out" / "predictions.json"), references)
    assert {name: metrics[name] for name in end_to_end} == end_to_end
    saved = read_json(tmp_path / "out" / "metrics.json")
    assert set(saved.pop("seconds")) == {"load", "retrieve", "read", "score"}
    assert saved == metrics
    table = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in table[1:]] == [
        "oracle passage", "end to end", "gold passage", "answer in text"
    ]  # fmt: skip


def test_the_retriever_alone_decides_with_a_large_weight(command: list[str], tmp_path: Path) -> None:
    inference.main([*command, "--do_eval", "--retrieval_weight", "1000"])
    nbest = read_json(tmp_path / "out" / "nbest_predictions.json")
    assert {answers[0]["rank"] for answers in nbest.values()} == {1}


@pytest.fixture
def uneven(dataset_path: str, tmp_path: Path) -> list[str]:
    """Flags that make other settings than the usual ones best: the table's scores prefer wrong passages."""
    questions = [question for _, question, _ in QUESTIONS[::2]]  # number n is about passage n
    corpus = load_corpus(f"{dataset_path}/wikipedia_documents.json")
    rows = []
    for number, question in enumerate(questions):
        for rank, (passage, score) in enumerate([((number + 1) % 6, 9.0), (number, 2.0), ((number + 2) % 6, 1.0)], 1):
            row = {"id": f"validation-{number}", "question": question, "rank": rank, "document_id": str(passage)}
            rows.append(row | {"title": "", "context": corpus.texts[passage], "score": score})
    pd.DataFrame(rows).to_csv(tmp_path / "uneven.csv", index=False)
    return ["--retriever_type", "get_retrieved_df", "--retrieved_df_path", str(tmp_path / "uneven.csv")]


@pytest.mark.parametrize("none", [[], ["--version_2_with_negative", "--null_score_diff_threshold", "-3"]])
def test_what_tuning_says_of_settings_is_what_runs_with_them_score(
    command: list[str], uneven: list[str], tmp_path: Path, none: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*without(command, "analyzer", "index_dir"), *uneven, "--do_eval"]
    given = inference.main([*command, *none, "--tune", "--retrieval_weight", "7"])
    out, printed = tmp_path / "out", capsys.readouterr().out
    answers, tuned, tuning = (read_json(out / f"{name}.json") for name in ("predictions", "tuned", "tuning"))
    assert tuning["as_given"]["exact_match"]["mean"] == given["exact_match"] == mean_of(out)
    assert set(tuned) == {"top_k_retrieval", "retrieval_weight", "postprocess"} | (
        {"null_score_diff_threshold"} if none else set()
    )
    assert tuned.items() <= tuning["chosen"].items()
    assert "Its scores are too high" in printed and f"add --config {out}/tuned.json" in printed

    assert {row["top_k_retrieval"] for row in tuning["tried"]} == {1, 2, 3}
    best = max(row["exact_match"] for row in tuning["tried"])
    assert best > given["exact_match"] and tuning["in_sample"]["exact_match"]["mean"] == best
    for row in tuning["tried"][:: len(tuning["tried"]) // 4]:
        words = [word for name, value in row.items() if name in tuned for word in (f"--{name}", str(value))]
        again = inference.main([*without(command[:-1], "top_k_retrieval"), "--do_eval", *none[:1], *words])
        assert (row["exact_match"], row["f1"]) == (again["exact_match"], again["f1"]), row
    later = ["--config", str(shutil.copy(out / "tuned.json", tmp_path / "tuned.json"))]
    chosen = inference.main([*without(command[:-1], "top_k_retrieval"), "--do_eval", *none[:1], *later])
    assert chosen["exact_match"] == best
    assert answers != read_json(out / "predictions.json")  # the run that tuned answered as it was told


def mean_of(out: Path) -> float:
    return read_json(out / "metrics.json")["exact_match"]


def test_threshold_and_rules_are_tuned_without_a_retriever(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*without(command, "analyzer", "index_dir", "top_k_retrieval"), "--retriever_type", "none", "--do_eval"]
    inference.main([*command, "--tune"])
    assert capsys.readouterr().out.splitlines()[1].startswith("given contexts")
    assert list(read_json(tmp_path / "out" / "tuned.json")) == ["postprocess"]
    inference.main([*command, "--tune", "--version_2_with_negative", "--null_score_diff_threshold", "-99"])
    assert list(read_json(tmp_path / "out" / "tuned.json")) == ["null_score_diff_threshold", "postprocess"]
    one = ["--max_eval_samples", "1"]
    with pytest.raises(UserError, match="--tune chooses on one half of the passages and scores on the other"):
        inference.main([*command, "--tune", "--version_2_with_negative", *one])


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--do_predict", "--tune"], "settings are chosen by gold answers: add --do_eval"),
        (["--do_eval", "--tune", "--passage_reading", "joined"], "--tune reads the passages once, which --passage_rea"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    command: list[str], capsys: pytest.CaptureFixture[str], flags: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit):
        inference.parse([*command, *flags])
    assert complaint in capsys.readouterr().err


def test_reads_the_examples_own_contexts_without_a_retriever(
    command: list[str], tmp_path: Path, dataset_path: str
) -> None:
    command = [*without(command, "analyzer", "index_dir", "top_k_retrieval"), "--retriever_type", "none"]
    metrics = inference.main([*command, "--do_eval"])
    assert metrics["exact_match"] >= 80 and "oracle_exact_match" not in metrics
    assert not (tmp_path / "out" / "retrieved_passages.csv").exists()
    with pytest.raises(UserError, match=r"6 have none \(the first: test-0\): name a retriever"):
        inference.main([*command, "--do_predict"])


def test_a_table_of_retrieved_passages_serves_as_well(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inference.main([*command, "--do_predict"])
    table = (tmp_path / "out" / "retrieved_passages.csv").rename(tmp_path / "passages.csv")
    again = [*without(command, "analyzer", "index_dir"), "--output_dir", str(tmp_path / "again")]
    again += ["--do_predict", "--retriever_type", "get_retrieved_df"]
    with pytest.raises(SystemExit):
        inference.main(again)
    assert "--retriever_type get_retrieved_df needs --retrieved_df_path, the table to read" in capsys.readouterr().err
    inference.main([*again, "--retrieved_df_path", str(table)])
    assert_same_answers(tmp_path / "again", tmp_path / "out")


def test_joined_passages_answer_from_one_passage(command: list[str], tmp_path: Path, dataset_path: str) -> None:
    inference.main([*command, "--do_predict", "--passage_reading", "joined"])
    corpus = load_corpus(f"{dataset_path}/wikipedia_documents.json")
    text_of = dict(zip(corpus.document_ids, corpus.texts, strict=True))
    nbest = read_json(tmp_path / "out" / "nbest_predictions.json")
    assert len(nbest) == 6
    for answers in nbest.values():
        for answer in answers:
            assert text_of[answer["document_id"]][answer["start"] : answer["end"]] == answer["text"]


def test_more_passages_than_there_are_and_a_changed_k(command: list[str], tmp_path: Path) -> None:
    for k, columns in (("1", 1), ("50", 6)):
        inference.main([*command, "--do_eval", "--top_k_retrieval", k])
        retrieved = pd.read_csv(tmp_path / "out" / "retrieved_passages.csv")
        assert len(retrieved) == 6 * columns
    assert len(list((tmp_path / "index").iterdir())) == 1  # one index serves every k


@pytest.mark.parametrize("given", ["data", "data/test_dataset", "data/test_dataset/"])
def test_competition_layout(command: list[str], tmp_path: Path, dataset_path: str, given: str) -> None:
    data = tmp_path / "data"
    questions = Dataset.from_dict({"question": ["이순신이 만든 배의 이름은 무엇인가?"], "id": ["mrc-1-000653"]})
    DatasetDict({"validation": questions}).save_to_disk(str(data / "test_dataset"))
    DatasetDict({"train": questions, "validation": questions}).save_to_disk(str(data / "train_dataset"))
    corpus = (Path(dataset_path) / "wikipedia_documents.json").read_bytes()
    (data / "wikipedia_documents.json").write_bytes(corpus)
    inference.main([*command, "--do_predict", "--dataset_path", str(tmp_path / given)])
    assert list(read_json(tmp_path / "out" / "predictions.json")) == ["mrc-1-000653"]


def test_says_what_to_do_instead(
    command: list[str], encoder_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for neither_or_both in ([], ["--do_predict", "--do_eval"]):
        with pytest.raises(SystemExit) as end:
            inference.main([*command, *neither_or_both])
        assert end.value.code == 2
        assert "--do_predict for the test questions, or --do_eval" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"encoder but no trained reader.*train one first with train_mrc\.py"):
        inference.main([*command, "--do_predict", "--model", encoder_path])
    with pytest.raises(SystemExit):
        inference.main([*without(command, "analyzer"), "--do_predict", "--retriever_type", "SparseRetrieval_BM52P"])
    assert "no retriever is named SparseRetrieval_BM52P; did you mean SparseRetrieval_BM25P?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_reader_reads_as_it_was_trained_unless_told_otherwise(
    command: list[str], trained_reader: str, tmp_path: Path, log_lines: list[str]
) -> None:
    inference.main([*command, "--do_predict"])
    expected = shutil.copytree(tmp_path / "out", tmp_path / "expected")
    log_lines.clear()
    inference.main([*without(command, "max_seq_len", "stride_len"), "--do_predict"])
    taken = "--max_seq_len 128, --stride_len 16, --max_ans_len 30, --version_2_with_negative False, --postprocess "
    taken += f"{DEFAULT_RULES}, --shared_normalization False"
    assert f"INFO as {trained_reader} was trained: {taken}" in log_lines
    assert_same_answers(tmp_path / "out", expected)
    recorded = read_json(tmp_path / "out" / "arguments.json")
    assert (recorded["max_seq_len"], recorded["stride_len"], recorded["max_ans_len"]) == (128, 16, 30)
    inference.main([*command, "--do_predict", "--max_ans_len", "1", "--postprocess", "none"])
    longest = {
        name: max(len(row["text"]) for row in rows)
        for name, rows in read_json(tmp_path / "out" / "nbest_predictions.json").items()
    }
    assert max(longest.values()) <= 4  # a word piece


def test_a_checkpoint_without_settings_is_read_by_the_usual_ones(
    command: list[str], trained_reader: str, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(trained_reader, old)
    config = read_json(old / "config.json")
    assert config.pop("reader_settings")["max_seq_len"] == 128
    (old / "config.json").write_text(json.dumps(config))
    flags = [*without(command, "model", "max_seq_len", "stride_len"), "--model", str(old), "--do_predict"]
    with pytest.raises(UserError, match="--max_seq_len 384 is more than"):
        inference.main(flags)
    inference.main([*flags, "--max_seq_len", "128", "--stride_len", "16"])


def test_the_folder_of_a_run_means_its_best_reader(
    command: list[str], trained_reader: str, tmp_path: Path, log_lines: list[str], reranker_path: str
) -> None:
    run = Path(trained_reader).parent
    inference.main([*command, "--do_predict"])
    expected = shutil.copytree(tmp_path / "out", tmp_path / "expected")
    inference.main([*without(command, "model"), "--model", str(run), "--do_predict"])
    assert f"INFO {run} is a training run: its best/ is taken" in log_lines
    assert_same_answers(tmp_path / "out", expected)
    assert read_json(tmp_path / "out" / "arguments.json")["model"] == trained_reader
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "arguments.json").write_text("{}")
    for flag in ("--model", "--reranker"):
        with pytest.raises(
            UserError, match=rf"^{tmp_path}/started is a training run that has no best/ yet: let it end$"
        ):
            inference.main([*command, "--do_predict", flag, str(tmp_path / "started")])
    shutil.copytree(reranker_path, tmp_path / "reranker" / "best")
    (tmp_path / "reranker" / "arguments.json").write_text("{}")
    inference.main([*command, "--do_predict", "--reranker", str(tmp_path / "reranker"), "--rerank_depth", "2"])
    assert f"INFO {tmp_path}/reranker is a training run: its best/ is taken" in log_lines


def test_flags_of_training_are_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        inference.main([*command, "--do_predict", "--head", "linear", "--learning_rate", "1"])
    message = capsys.readouterr().err
    assert "--head has no effect in inference.py: it is kept with the checkpoint" in message
    assert "--learning_rate has no effect in inference.py" in message


def test_bad_corpus_leaves_nothing_behind(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "1", "title": "세종", "text": ""}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.jsonl"):
        inference.main([*command, "--do_predict", "--context_path", str(path)])
    assert not (tmp_path / "out").exists() and not (tmp_path / "index").exists()


@pytest.mark.parametrize("reading", ["separate", "joined"])
def test_passages_are_read_a_bounded_number_at_a_time_and_the_answers_stay(
    command: list[str], tmp_path: Path, reading: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, evaluated = command, ["--do_eval", "--passage_reading", reading]
    expected = inference.main([*flags, *evaluated])
    whole = shutil.copytree(tmp_path / "out", tmp_path / "whole")
    read, original = [], QAProcessor.make_features

    def counted(qa_processor, examples, *rest, **options):
        read.append(sum(map(len, examples["passages"])))
        return original(qa_processor, examples, *rest, **options)

    monkeypatch.setattr(QAProcessor, "make_features", counted)
    monkeypatch.setattr("retrieval.table.PASSAGES_AT_ONCE", 7)  # two questions of three passages
    assert inference.main([*flags, *evaluated]) == close_to(expected)
    assert read[:3] == [6, 6, 6]
    table = ["--retriever_type", "get_retrieved_df", "--retrieved_df_path", str(tmp_path / "passages.csv")]
    (tmp_path / "out" / "retrieved_passages.csv").rename(tmp_path / "passages.csv")
    assert_same_answers(tmp_path / "out", whole)
    assert (tmp_path / "passages.csv").read_bytes() == (whole / "retrieved_passages.csv").read_bytes()
    read.clear()
    inference.main([*without(flags, "analyzer", "index_dir"), *evaluated, *table])
    assert read[:3] == [6, 6, 6]
    assert_same_answers(tmp_path / "out", whole)


def test_contexts_are_read_a_bounded_number_at_a_time_too(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*without(command, "analyzer", "index_dir", "top_k_retrieval"), "--retriever_type", "none", "--do_eval"]
    expected = inference.main(command)
    whole = shutil.copytree(tmp_path / "out", tmp_path / "whole")
    read, original = [], QAProcessor.make_features
    monkeypatch.setattr(
        QAProcessor, "make_features", lambda self, rows, *_, **flags: read.append(len(rows)) or original(self, rows)
    )
    monkeypatch.setattr("pipeline.PASSAGES_AT_ONCE", 4)
    assert inference.main(command) == close_to(expected)
    assert read == [4, 2]
    assert_same_answers(tmp_path / "out", whole)


IN_ONE_OF_TWO_PROCESSES = """
import sys
import torch
import inference, retrieval.dense, retrieval.encoding
from runtime.division import place

torch.cpu.get_capabilities = dict  # no bf16: scores of other batches would be rounded otherwise
retrieval.encoding.SHARD_SIZE = 2
encode, search = retrieval.dense.DenseRetrieval._encode_shard, retrieval.dense.DenseRetrieval.search

def encode_here(self, part, what):
    print(f"process {place()} encodes {len(part)} passages", file=sys.stderr)
    return encode(self, part, what)

def search_here(self, questions, k):
    print(f"process {place()} searches for {len(questions)} questions", file=sys.stderr)
    return search(self, questions, k)

retrieval.dense.DenseRetrieval._encode_shard = encode_here
retrieval.dense.DenseRetrieval.search = search_here
inference.main()
"""


def test_two_processes_encode_search_rerank_and_read_as_one(
    command: list[str], tmp_path: Path, encoder_path: str, reranker_path: str, fp32: None
) -> None:
    spec = f"DenseRetrieval,pooling=mean,reranker={reranker_path},rerank_depth=2"
    flags = [*without(command, "analyzer"), "--retriever_type", spec, "--retriever_dir", encoder_path]
    flags += ["--passage_max_len", "128", "--do_eval", "--postprocess", "none"]
    expected = inference.main([*flags, "--output_dir", str(tmp_path / "one"), "--index_dir", str(tmp_path / "other")])
    (tmp_path / "both.py").write_text(IN_ONE_OF_TWO_PROCESSES)
    result = start_two_processes(str(tmp_path / "both.py"), flags)
    assert result.returncode == 0, result.stderr
    for process, shards in ((0, 2), (1, 1)):  # of three
        assert result.stderr.count(f"process {process} encodes 2 passages") == shards
        assert f"process {process} searches for 3 questions" in result.stderr
    one, both = tmp_path / "one", tmp_path / "out"
    assert {path.name for path in both.iterdir()} == {path.name for path in one.iterdir()}
    assert_same_answers(both, one)
    assert list(read_json(both / "nbest_predictions.json")) == list(read_json(one / "nbest_predictions.json"))
    found, alone = (pd.read_csv(folder / "retrieved_passages.csv") for folder in (both, one))
    assert (found.drop(columns="score") == alone.drop(columns="score")).all(axis=None)
    assert found["score"].to_list() == close_to(alone["score"].to_list())
    metrics = read_json(both / "metrics.json")
    assert {name: metrics[name] for name in expected} == close_to(expected)
    assert read_json(both / "environment.json")["processes"] == 2
    assert result.stdout.count("end to end") == 1


def test_what_a_reranker_puts_first_is_read_first(command: list[str], tmp_path: Path, reranker_path: str) -> None:
    spec = f"SparseRetrieval_BM25P,analyzer=bigram,reranker={reranker_path},rerank_depth=2"
    tables = []
    for flags in ([], ["--retriever_type", spec]):
        inference.main([*without(command, "analyzer"), *(flags or ["--analyzer", "bigram"]), "--do_predict"])
        df = pd.read_csv(tmp_path / "out" / "retrieved_passages.csv", dtype=str)
        tables.append(df.pivot(index="id", columns="rank", values="document_id"))
    before, after = tables
    assert (before["3"] == after["3"]).all()
    assert [set(row) for row in before[["1", "2"]].values] == [set(row) for row in after[["1", "2"]].values]
    assert (before["1"] != after["1"]).any()
    assert len(list((tmp_path / "index").glob("SparseRetrieval_BM25P-*"))) == 1


def test_where_the_answers_go_is_found_out_before_the_work(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "answer", lambda *_: pytest.fail("worked"))
    (tmp_path / "out").write_text("precious")
    with pytest.raises(UserError, match=r"--output_dir .*out is not a folder; name another one"):
        inference.main([*command, "--do_predict"])
    assert (tmp_path / "out").read_text() == "precious"
    with claimed(tmp_path / "taken"), pytest.raises(UserError, match=r"--output_dir .*taken is in use by process"):
        inference.main([*command, "--do_predict", "--output_dir", str(tmp_path / "taken")])


def test_an_index_that_could_not_be_kept_is_not_built(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SparseRetrieval_BM25P, "build", lambda *_: pytest.fail("built"))
    (tmp_path / "index").write_text("precious")
    with pytest.raises(UserError, match=r"--index_dir .*index is not a folder; name another"):
        inference.main([*command, "--do_predict"])
    assert not (tmp_path / "out").exists()


def test_what_killed_commands_left_is_removed(command: list[str], tmp_path: Path) -> None:
    left = f'a = staged_file("{tmp_path}/out/predictions.json"); a.__enter__()\n'
    leave_half_written(left + f'b = staged_folder("{tmp_path}/index/SparseRetrieval_BM25P-x"); b.__enter__()')
    assert len(list(tmp_path.rglob("*.staging-*"))) == 2
    inference.main([*command, "--do_predict"])
    assert list(tmp_path.rglob("*.staging-*")) == [] and not (tmp_path / "out" / ".lock").exists()


def test_places_of_answers_in_chunks_lead_to_the_document(
    command: list[str], tmp_path: Path, dataset_path: str
) -> None:
    metrics = inference.main([*command, "--do_eval", "--chunk", "sentences", "--chunk_size", "1", "--clean"])
    corpus = load_corpus(f"{dataset_path}/wikipedia_documents.json")
    text_of = dict(zip(corpus.document_ids, corpus.texts, strict=True))
    nbest = read_json(tmp_path / "out" / "nbest_predictions.json")
    starts = set()
    for answer in (answer for answers in nbest.values() for answer in answers):
        start = answer["passage_start"] + answer["start"]
        assert text_of[answer["document_id"]][start:][: len(answer["text"])] == answer["text"]
        starts.add(answer["passage_start"])
    assert len(starts) > 2
    table = pd.read_csv(tmp_path / "out" / "retrieved_passages.csv", dtype={"document_id": str})
    assert table.groupby("id")["document_id"].nunique().min() < 3  # chunks of one document
    again = [*without(command, "analyzer", "index_dir"), "--output_dir", str(tmp_path / "again"), "--do_eval"]
    again += ["--retriever_type", "get_retrieved_df"]
    assert inference.main([*again, "--retrieved_df_path", f"{tmp_path}/out/retrieved_passages.csv"]) == metrics
