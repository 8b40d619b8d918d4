"""retrieve.py end to end: the files it writes, and its figures against ones that are counted question by question."""

from __future__ import annotations

import errno
import json
import math
import sys
from pathlib import Path

import pandas as pd
import pytest

import retrieve
from arguments import RetrieverArguments
from loading.corpus import load_corpus
from loading.dpr_json import read_dpr_json
from loading.examples import load_examples
from loading.teacher_scores import read_teacher_scores
from models.cross_encoder import Pair, load_cross_encoder
from retrieval import create_retriever
from retrieval.metrics import hit_at_k
from retrieval.table import get_retrieved_df
from retrieval.tuning import halves
from runtime.errors import UserError, WriteError
from runtime.locks import claimed

BM25, TFIDF = "SparseRetrieval_BM25P,analyzer=bigram", "SparseRetrieval_TFIDF,tfidf_features=char"
HYBRID = ["HybridRetrieval", "--hybrid_retrievers", BM25, TFIDF]


@pytest.fixture(scope="module")
def context_path(dataset_path, tmp_path_factory) -> str:
    """The passages without one that is asked about, with one twice (once with other white space), and with two more
    that are closer to the words of some questions than the passages that answer them."""
    passages = json.loads((Path(dataset_path) / "wikipedia_documents.json").read_text(encoding="utf-8"))
    del passages["5"]
    repeated = passages["2"]
    passages["6"] = repeated | {"document_id": 6, "text": repeated["text"].replace(" ", "  ")}
    for number, text in (
        (7, "자격루를 만든 사람은 누구인가? 부산의 바닷가는 어디인가? 훈민정음은 언제"),
        (8, "이순신이 왜군을 이긴 한산도 앞바다는 어디인가?"),
    ):
        passages[str(number)] = {"title": "물음", "text": text, "document_id": number}
    path = tmp_path_factory.mktemp("corpus") / "passages.json"
    path.write_text(json.dumps(passages, ensure_ascii=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def run(dataset_path, context_path, tmp_path):
    """Run the command in a folder of its own; return the report."""

    def command(*words: str, **flags: object) -> dict:
        given = {"dataset_path": dataset_path, "context_path": context_path, "output_dir": tmp_path / "out"}
        given |= {"index_dir": tmp_path / "index", "top_k": 5} | flags
        argv = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return retrieve.main(["--retriever_type", *words, *argv])

    return command


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def squeeze(text: str) -> str:
    return "".join(text.split())


def counted(spec: str, dataset_path: str, context_path: str, k: int, **flags) -> dict[str, list[int | None]]:
    """The rank of the first gold passage and of the first passage with an answer, for every question."""
    corpus, examples = load_corpus(context_path), load_examples(dataset_path, ["validation"])["validation"]
    retriever = create_retriever(RetrieverArguments(retriever_type=spec, **flags))
    retriever.build(corpus)
    ranks: dict[str, list[int | None]] = {"gold_passage": [], "answer_in_text": []}
    for example in examples:
        texts = [corpus.texts[row] for row in retriever.search([example["question"]], k).ids[0]]
        right = {
            "gold_passage": [squeeze(text) == squeeze(example["context"]) for text in texts],
            "answer_in_text": [any(answer in text for answer in example["answers"]["text"]) for text in texts],
        }
        for name, flags_of_texts in right.items():
            ranks[name].append(flags_of_texts.index(True) + 1 if any(flags_of_texts) else None)
    return ranks


def means(ranks: list[int | None], ks: list[int]) -> dict[str, float]:
    """The figures in percent."""
    found = [rank for rank in ranks if rank is not None]
    sums = {f"recall@{k}": sum(rank <= k for rank in found) for k in ks}
    near = [rank for rank in found if rank <= 10]
    sums |= {"mrr@10": sum(1 / rank for rank in near), "ndcg@10": sum(1 / math.log2(1 + rank) for rank in near)}
    return {name: pytest.approx(100 * value / len(ranks)) for name, value in sums.items()}


def test_figures_and_files(run, dataset_path, context_path, tmp_path, log_lines, capsys):
    report = run(BM25, TFIDF, "--write", "csv", "parquet", "trec", "dpr_json")

    # figures
    assert {name: report[name] for name in ("split", "questions", "passages", "top_k")} == {
        "split": "validation", "questions": 6, "passages": 8, "top_k": 5,
    }  # fmt: skip
    assert (report["gold_passages"], report["in_corpus"], report["answerable"]) == (6, 5, 6)
    assert f"WARNING 1 of 6 questions are missed by all: no gold passage in {context_path}" in log_lines
    for spec, row in zip((BM25, TFIDF), report["retrievers"], strict=True):
        assert row["retriever"] == spec
        for definition, ranks in counted(spec, dataset_path, context_path, 5).items():
            assert {1, 2, None} <= set(ranks)
            scores = dict(row[definition])
            curve = scores.pop("recall_curve")
            assert {name: score["mean"] for name, score in scores.items()} == means(ranks, [1, 5])
            assert all(score["low"] <= score["mean"] <= score["high"] for score in scores.values())
            assert curve == [means(ranks, [k])[f"recall@{k}"] for k in range(1, 6)]
        assert row["built"] is True
        assert row["milliseconds_per_question"] > 0
        assert row["ready_seconds"] >= row["build_seconds"]
        (folder,) = (tmp_path / "index").glob(f"{spec.split(',')[0]}-*")
        assert row["index_bytes"] == sum(path.stat().st_size for path in folder.iterdir())

    # files
    out = tmp_path / "out"
    names = ["SparseRetrieval_BM25P_analyzer=bigram", "SparseRetrieval_TFIDF_tfidf_features=char"]
    of_each = ["dpr.json", "retrieved_passages.csv", "retrieved_passages.parquet", "run.trec"]
    own = ["arguments.json", "environment.json", "retrieval.json", "retrieval.md", "retrieval.png"]
    assert files(out) == [f"{name}/{file}" for name in names for file in of_each] + own
    assert json.loads((out / "retrieval.json").read_text(encoding="utf-8")) == report
    printed = capsys.readouterr().out
    assert printed.startswith((out / "retrieval.md").read_text(encoding="utf-8"))
    assert printed.endswith(
        "arguments.json, environment.json, retrieval.json, retrieval.md, retrieval.png and csv, parquet, trec, dpr_json"
        f" of each retriever in {out}\n"
    )
    assert (out / "retrieval.png").read_bytes().startswith(b"\x89PNG")

    # passages
    examples, corpus = load_examples(dataset_path, ["validation"])["validation"], load_corpus(context_path)
    for spec, name in zip((BM25, TFIDF), names, strict=True):
        retriever = create_retriever(RetrieverArguments(retriever_type=spec))
        retriever.build(corpus)
        found = retriever.search(examples["question"], 5)
        tables = [get_retrieved_df(out / name / file, examples, 5) for file in of_each[1:3]]
        pd.testing.assert_frame_equal(*tables)
        expected = [[corpus.document_ids[row] for row in rows] for rows in found.ids]
        assert [list(table["document_id"]) for _, table in tables[0].groupby("id", sort=False)] == expected
        lines = [line.split(" ") for line in (out / name / "run.trec").read_text(encoding="utf-8").splitlines()]
        assert [(line[0], line[2], line[3]) for line in lines] == [
            (examples["id"][number], document_id, str(rank))
            for number, ids in enumerate(expected)
            for rank, document_id in enumerate(ids, start=1)
        ]
        assert {line[5] for line in lines} == {name}
        for example, read in zip(examples, read_dpr_json(out / name / "dpr.json"), strict=True):
            assert (read.id, read.positive.text) == (example["id"], example["context"])
            wrong = [
                corpus.document_ids[row]
                for row in found.ids[list(examples["id"]).index(example["id"])]
                if squeeze(corpus.texts[row]) != squeeze(example["context"])
                and not any(answer in corpus.texts[row] for answer in example["answers"]["text"])
            ]
            assert [passage.passage_id for passage in read.negatives] == wrong
            assert wrong


def test_an_explained_question_names_what_the_right_passage_lacks(run, tmp_path, capsys):
    ids = [f"validation-{number}" for number in range(6)]
    run(BM25, TFIDF, "--explain", *ids, top_k=1)
    shown = capsys.readouterr().out
    for spec in (BM25, TFIDF):
        path = tmp_path / "out" / spec.replace(",", "_") / "explained.json"
        explained = json.loads(path.read_text(encoding="utf-8"))
        assert all(f"{spec}: {one['question']}\n" in shown for one in explained)
        ranks = [tuple(passage["rank"] for passage in one["passages"]) for one in explained]
        assert set(ranks) == {(1,), (1, None)}  # found at once, or not
        for passage in (passage for one in explained for passage in one["passages"]):
            assert sum(part["score"] for part in passage["parts"]) == pytest.approx(passage["score"], rel=1e-4)
    with pytest.raises(UserError, match="--explain x: no question has this id"):
        run(BM25, "--explain", "x")


def test_a_second_run_loads_and_knows_how_long_the_build_took(run):
    (first,) = run(BM25)["retrievers"]
    (second,) = run(BM25)["retrievers"]
    assert (first["built"], second["built"]) == (True, False)
    changing = {"built", "ready_seconds", "milliseconds_per_question"}
    assert {name: first[name] for name in first.keys() - changing} == {
        name: second[name] for name in second.keys() - changing
    }
    assert second["build_seconds"] > 0


def test_one_retriever_writes_beside_the_figures_and_a_repeated_one_counts_once(run, tmp_path):
    report = run(BM25, BM25, "--write", "trec", max_eval_samples=2, top_k=100)
    assert (len(report["retrievers"]), report["questions"]) == (1, 2)
    assert "run.trec" in files(tmp_path / "out")
    recalls = [name for name in report["retrievers"][0]["gold_passage"] if name.startswith("recall@")]
    assert recalls == ["recall@1", "recall@5"]  # there are 8 passages


def test_folder_names_differ_and_stay_in_the_folder():
    specs = ["A,analyzer_model=../x/y", "A,analyzer_model=.._x_y", "A", "A" * 300]
    assert retrieve.folder_names(specs) == [
        "A_analyzer_model=.._x_y", "A_analyzer_model=.._x_y-2", "A", "A" * 100,
    ]  # fmt: skip
    assert retrieve.folder_names(["A,b", "A,b-3", "A b"]) == ["A_b", "A_b-3", "A_b-4"]


def test_test_questions_are_only_searched(run, tmp_path):
    report = run(BM25, "--write", "csv", split="test")
    assert (report["gold_passages"], report["answerable"]) == (0, 0)
    assert not {"gold_passage", "answer_in_text"} & set(report["retrievers"][0])
    assert files(tmp_path / "out") == [
        "arguments.json", "environment.json", "retrieval.json", "retrieval.md", "retrieved_passages.csv",
    ]  # fmt: skip
    assert "Gold passage" not in (tmp_path / "out/retrieval.md").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="--write dpr_json needs questions whose passages are known, and these name"):
        run(BM25, "--write", "dpr_json", split="test")


def test_weights_are_tuned_on_half_of_the_passages_and_measured_on_the_others(
    run, dataset_path, context_path, tmp_path, capsys
):
    run(*HYBRID, "--tune_fusion", "--fusion", "rrf")
    fusion = json.loads((tmp_path / "out/fusion.json").read_text(encoding="utf-8"))["HybridRetrieval"]
    examples = load_examples(dataset_path, ["validation"])["validation"]
    first = halves(examples)
    assert fusion["tuned_on_questions"] == first.sum() > 0
    assert fusion["held_out_questions"] == (~first).sum() > 0

    def ranks(weights, half):
        flags = {"hybrid_retrievers": [BM25, TFIDF], "fusion": "rrf", "fusion_weights": weights}
        of_all = counted("HybridRetrieval", dataset_path, context_path, 5, **flags)["gold_passage"]
        return [rank for rank, inside in zip(of_all, half, strict=True) if inside]

    assert len(fusion["curve"]) == 11
    assert len({point["mrr_at_10"] for point in fusion["curve"]}) > 1
    for point in fusion["curve"]:
        expected = means(ranks(point["weights"], first), [5])
        assert (point["recall_at_5"], point["mrr_at_10"]) == (expected["recall@5"], expected["mrr@10"])
    best = max(fusion["curve"], key=lambda point: (point["recall_at_5"], point["mrr_at_10"]))
    assert fusion["weights"] == best["weights"]
    compared = {"tuned": best["weights"], "equal": [1, 1], f"only {BM25}": [1, 0], f"only {TFIDF}": [0, 1]}
    assert list(fusion["held_out"]) == list(compared)
    for name, weights in compared.items():
        held_out = {metric: score["mean"] for metric, score in fusion["held_out"][name].items()}
        assert held_out == means(ranks(weights, ~first), [1, 5])

    flags = f"--fusion rrf --fusion_weights {best['weights'][0]:g} {best['weights'][1]:g}"
    assert fusion["flags"] == flags
    assert f"**HybridRetrieval**: {flags}\n" in capsys.readouterr().out
    run(*HYBRID, *flags.split())  # they can be given as they are


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([BM25, "SparseRetrieval_BM25P,bm25_b=3"], "SparseRetrieval_BM25P,bm25_b=3: --bm25_b 3 must be at least 0"),
        ([BM25, *HYBRID[:3]], "--hybrid_retrievers must name two or more retrievers, not 1"),
    ],
)
def test_a_mistake_is_found_before_anything_is_built(words, complaint, run, tmp_path):
    with pytest.raises(UserError) as caught:
        run(*words)
    assert complaint in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([BM25, "--tune_fusion"], "--tune_fusion would be ignored: add --retriever_type HybridRetrieval"),
        ([*HYBRID, "--tune_fusion", "--split", "test"], "the test questions have no gold answers to tune on"),
        ([BM25, "--write", "xml"], "argument --write: invalid choice: 'xml'"),
        (
            [BM25, "--precision", "fp16"],
            "--precision has no effect in retrieve.py: encoders run in ",
        ),
        ([BM25, "--top_k", "0"], "--top_k_retrieval 0 must be at least 1"),
    ],
)
def test_flags_without_effect_are_refused(words, complaint, capsys):
    with pytest.raises(SystemExit):
        retrieve.parse(["--retriever_type", *words])
    assert complaint in capsys.readouterr().err


def test_a_plot_for_which_there_is_no_room_is_said(run, tmp_path, monkeypatch):
    def full(figure, path, **_):
        raise OSError(errno.ENOSPC, "", str(path))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(WriteError, match=r"retrieval\.png cannot be written: No space left on device"):
        run(BM25)


def test_without_matplotlib_only_the_plot_is_left_out(run, tmp_path, monkeypatch, log_lines):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run(BM25)
    (line,) = [line for line in log_lines if "retrieval.png" in line]
    assert line.startswith("WARNING retrieval.png is left out: matplotlib is needed here and cannot be imported")
    assert line.endswith("pip install matplotlib")
    assert files(tmp_path / "out") == ["arguments.json", "environment.json", "retrieval.json", "retrieval.md"]


@pytest.fixture
def named_twice(tmp_path) -> Path:
    """Passages of which two have one text, and questions that name the second, and one whose answer is a title."""
    passages = [
        ("0", "나루", "나루는 강가의 마을이다."),
        ("1", "나루", "나루는 강가의 마을이다."),
        ("2", "들샘", "들샘은 산 아래의 마을이다."),
        ("3", "강 가", "마을의 이름이다."),
        ("4", "솔재", "나루는 강 가의 마을이 아니다."),
        ("5", "솔재", "마을이 아니다. 나루는 어디의 마을인가?"),
    ]
    lines = [{"id": name, "title": title, "text": text} for name, title, text in passages]
    context = "나루는 강가의 마을이다 (옛 이름)."
    qas = [{"id": "q", "question": "나루는 어디의 마을인가?", "answers": [{"text": "강가", "answer_start": 4}]}]
    paragraph = {"context": context, "document_id": 1.0, "qas": qas}
    (tmp_path / "passages.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    data = {"data": [{"title": "나루", "paragraphs": [paragraph]}]}
    (tmp_path / "validation.json").write_text(json.dumps(data), encoding="utf-8")
    return tmp_path


def test_the_id_of_a_passage_that_was_left_out_names_the_one_that_stayed(run, named_twice, tmp_path, log_lines):
    paths = {"dataset_path": named_twice / "validation.json", "context_path": named_twice / "passages.jsonl"}
    report = run(BM25, "--write", "csv", "trec", "dpr_json", **paths)
    assert (report["gold_passages"], report["in_corpus"]) == (1, 1)
    assert not [line for line in log_lines if "are missed by all" in line]
    assert report["retrievers"][0]["gold_passage"]["recall@5"]["mean"] == 100

    out = tmp_path / "out"
    examples = load_examples(str(named_twice / "validation.json"), ["validation"])["validation"]
    table = get_retrieved_df(out / "retrieved_passages.csv", examples, 5)
    assert hit_at_k(table, examples, [5]) == {"hit@5": 100.0, "answer_hit@5": 100.0}
    assert "1" in [line.split()[2] for line in (out / "run.trec").read_text(encoding="utf-8").splitlines()]
    (example,) = read_dpr_json(out / "dpr.json")
    # neither the gold passage under its other name, nor one with the answer in its title or with other blanks
    assert {passage.passage_id for passage in example.negatives} == {"2", "5"}


def test_where_the_figures_go_is_found_out_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(retrieve, "compare", lambda args: pytest.fail("worked"))
    with claimed(tmp_path / "out"), pytest.raises(UserError, match=r"--output_dir .*out is in use by process"):
        run(BM25)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output_dir .*deep cannot be written: .*file is not a folder; name another"):
        run(BM25, output_dir=tmp_path / "file" / "deep")


def test_a_csv_and_a_corpus_in_chunks_are_measured(run, dataset_path, tmp_path):
    """Every chunk is its own passage, and the gold ones are those that hold the answer."""
    asked = load_examples(dataset_path, ["validation"])["validation"]
    columns = {"no": asked["id"], "q": asked["question"], "answer": [row["text"][0] for row in asked["answers"]]}
    documents = load_corpus(Path(dataset_path) / "wikipedia_documents.json")
    named = {"body": documents.texts, "id": documents.document_ids}
    id_of = dict(zip(documents.texts, documents.document_ids, strict=True))
    pd.DataFrame(columns | {"document_id": [id_of[text] for text in asked["context"]]}).to_csv(
        tmp_path / "questions.csv", index=False
    )
    pd.DataFrame(named).to_csv(tmp_path / "corpus.tsv", sep="\t", index=False)
    flags = {"dataset_path": tmp_path / "questions.csv", "context_path": tmp_path / "corpus.tsv", "top_k": 100}
    words = ["--column", "id=no", "--column", "question=q", "--corpus_column", "text=body", "--chunk", "words"]
    report = run(BM25, *words, "--chunk_size", "4", "--chunk_overlap", "1", "--write", "csv", "trec", **flags)
    assert report["passages"] > 3 * len(documents)
    df = pd.read_csv(tmp_path / "out" / "retrieved_passages.csv", dtype={"document_id": str})
    starts = zip(df["document_id"], df["passage_start"], df["context"], strict=True)
    text_of = dict(zip(documents.document_ids, documents.texts, strict=True))
    assert all(text_of[name][start:].startswith(text) for name, start, text in starts)
    first = {}
    for row in df.itertuples():
        index = columns["no"].index(row.id)
        if row.document_id == id_of[asked[index]["context"]] and columns["answer"][index] in row.context:
            first.setdefault(row.id, row.rank)
    assert report["in_corpus"] == len(first) == len(asked)
    recall = sum(rank == 1 for rank in first.values()) / len(asked)
    assert 0 < recall < 1
    assert report["retrievers"][0]["gold_passage"]["recall@1"]["mean"] == pytest.approx(100 * recall)
    run_lines = [line.split()[:3] for line in (tmp_path / "out/run.trec").read_text(encoding="utf-8").splitlines()]
    assert len(set(map(tuple, run_lines))) == len(df)


def test_a_beir_folder_is_measured(run, tmp_path):
    (tmp_path / "beir/qrels").mkdir(parents=True)
    texts = {"d1": "한강은 서해로 흐르는 강이다.", "d2": "달은 지구를 돈다.", "d3": "강에는 물고기가 산다."}
    corpus = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items()]
    (tmp_path / "beir/corpus.jsonl").write_text("\n".join(corpus), encoding="utf-8")
    (tmp_path / "beir/queries.jsonl").write_text('{"_id": "q", "text": "서해로 흐르는 강"}', encoding="utf-8")
    qrels = "query-id\tcorpus-id\tscore\nq\td2\t1\nq\td3\t1\n"
    (tmp_path / "beir/qrels/test.tsv").write_text(qrels, encoding="utf-8")
    flags = {"dataset_path": tmp_path / "beir", "context_path": tmp_path / "beir/corpus.jsonl", "split": "test"}
    report = run(BM25, **flags)
    assert (report["questions"], report["gold_passages"], report["in_corpus"], report["answerable"]) == (1, 1, 1, 0)
    assert report["retrievers"][0]["gold_passage"]["recall@1"]["mean"] == 0
    assert report["retrievers"][0]["gold_passage"]["mrr@10"]["mean"] == 50


def test_scores_for_a_student_are_those_of_the_reranker(run, reranker_path, tmp_path):
    run(BM25, reranker=reranker_path, rerank_depth=3, write="scores", split="train")
    read = read_teacher_scores(tmp_path / "out" / "scores.jsonl")
    assert len(read) == 12
    judge = load_cross_encoder(reranker_path)
    for scores in read.values():
        assert 3 <= len(scores.passages) <= 4
        pairs = [Pair(scores.question, passage.title, passage.text) for passage in scores.passages]
        assert scores.scores == pytest.approx(judge.score(pairs).tolist(), abs=0.02)
