"""The corpus: both formats, duplicates, and the exact sentence for everything that can be wrong with a file."""

from __future__ import annotations

import csv
import gzip
import json
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loading.corpus import Corpus, find_corpus, load_corpus
from runtime.errors import DataError, UserError


def write_json(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def write_lines(path, rows):
    text = "\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def test_wikipedia_documents_keep_their_order_and_fall_back_to_the_key(tmp_path):
    path = write_json(
        tmp_path / "wikipedia_documents.json",
        {
            "7": {"title": "한강", "text": "한강은 서해로 흐른다.", "document_id": 31, "author": None},
            "3": {"title": None, "text": "제목이 없다."},
            "5": {"title": "달", "text": "달은 지구를 돈다.", "document_id": None},
        },
    )
    corpus = load_corpus(path)
    assert corpus == Corpus(
        ["31", "3", "5"], ["한강", "", "달"], ["한강은 서해로 흐른다.", "제목이 없다.", "달은 지구를 돈다."]
    )
    assert len(corpus) == 3


def test_json_lines_plain_and_gzipped_are_the_same_corpus(tmp_path):
    rows = [
        {"id": "a#1", "title": "한강", "text": "줄 구분 문자\u2028가 든 글"},
        "",
        {"document_id": 2, "text": "제목 없음"},
    ]
    path = write_lines(tmp_path / "passages.jsonl", rows)
    (tmp_path / "passages.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    corpus = load_corpus(path)
    assert corpus == Corpus(["a#1", "2"], ["한강", ""], ["줄 구분 문자\u2028가 든 글", "제목 없음"])
    assert load_corpus(tmp_path / "passages.jsonl.gz") == corpus


def test_titles_that_are_page_addresses_get_their_spaces_back(tmp_path):
    path = write_lines(tmp_path / "corpus.jsonl", [{"id": 1, "title": "고대_노르드어", "text": "밑줄_은 글에 남는다."}])
    assert load_corpus(path) == Corpus(["1"], ["고대 노르드어"], ["밑줄_은 글에 남는다."])


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, log_lines):
    path = tmp_path / "wikipedia_documents.json"
    path.write_text('{"0": {"text": "왕"}}', encoding="utf-8-sig")
    assert load_corpus(path) == Corpus(["0"], [""], ["왕"])
    assert log_lines == [f"INFO {path}: 1 passages"]


def test_identical_texts_are_kept_once(tmp_path, log_lines):
    rows = [{"id": str(row), "title": f"제목 {row}", "text": f"본문 {row % 2}"} for row in range(5)]
    path = write_lines(tmp_path / "passages.jsonl", rows)
    assert load_corpus(path) == Corpus(["0", "1"], ["제목 0", "제목 1"], ["본문 0", "본문 1"])
    assert log_lines == [f"INFO {path}: 2 passages, after leaving out 3 with the text of an earlier one"]


def test_the_id_of_a_passage_that_is_left_out_names_the_one_that_stays(tmp_path):
    rows = [{"id": str(row), "text": f"본문 {row % 2}"} for row in range(5)]
    corpus = load_corpus(write_lines(tmp_path / "passages.jsonl", rows))
    assert corpus.also_known_as == {"2": "0", "3": "1", "4": "0"}
    assert corpus.names([1, 0]) == ["1", "0"]
    assert corpus.names([1, 0], "4") == ["1", "4"]
    assert corpus.names([1, 0], "9") == ["1", "0"]
    assert corpus.hash == Corpus(["0", "1"], ["", ""], ["본문 0", "본문 1"]).hash  # no other index


def test_a_passage_whose_keys_stand_twice_is_a_bad_row(tmp_path):
    path = tmp_path / "wikipedia_documents.json"
    path.write_text('{"0": {"text": "하나"}, "1": {"text": "둘", "title": "", "text": "셋"}}', encoding="utf-8")
    with pytest.raises(DataError, match=r'key "1": text stands twice in it'):
        load_corpus(path)
    assert load_corpus(path, skip_bad_rows=True) == Corpus(["0"], [""], ["하나"])


def test_ids_are_whole_numbers_also_as_floats_and_missing_ones_are_passed_over(tmp_path):
    rows = [
        {"document_id": 3.0, "text": "하나"},
        {"document_id": None, "id": 4, "text": "둘"},
        '{"document_id": NaN, "id": "5.0", "text": "셋"}',
        {"id": 3, "text": "하나"},
    ]
    corpus = load_corpus(write_lines(tmp_path / "passages.jsonl", rows))
    assert (corpus.document_ids, corpus.also_known_as) == (["3", "4", "5.0"], {})


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff\n", "\x00", "\u00ad ", "\u3164"])
def test_what_cannot_be_seen_is_empty(blank, tmp_path):
    good = {"id": "a", "title": f"{blank}한강{blank}", "text": f"{blank}글"}
    path = write_lines(
        tmp_path / "p.jsonl", [good, {"id": "b", "text": blank}, {"id": blank, "text": "글"}, f"{blank}"]
    )
    with pytest.raises(DataError) as caught:
        load_corpus(path)
    assert [str(problem).removeprefix(f"{path}, ") for problem in caught.value.problems] == [
        "line 2: text is empty",
        "line 3: no id: document_id or id must be a string or a whole number",
    ]
    assert load_corpus(path, skip_bad_rows=True) == Corpus(["a"], ["한강"], [f"{blank}글"])


BAD_LINES = [
    {"id": "ok", "title": "좋은 줄", "text": "읽을 수 있다."},
    {"id": "a", "title": "글 없음"},
    {"id": "b", "text": " \n"},
    {"id": "c", "title": 7, "text": ["목록"]},
    {"title": "번호 없음", "text": "본문"},
    {"id": True, "text": "참은 번호가 아니다"},
    {"id": "ok", "text": "같은 번호의 다른 글"},
    ["객체가", "아니다"],
    '{"id": "d", "text": "끊긴',
    '{"id": "e", "text": "반쪽 \\ud800 글자"}',
]
REASONS = [
    "line 2: no text",
    "line 3: text is empty",
    "line 4: text is not a string; title is not a string",
    "line 5: no id: document_id or id must be a string or a whole number",
    "line 6: no id: document_id or id must be a string or a whole number",
    "line 7: id 'ok' already stands for another text, in line 1",
    "line 8: not a JSON object",
    "line 9: not valid JSON at column 21, or cut short: Unterminated string starting at",
    "line 10: holds half of a surrogate pair (\\ud800 to \\udfff), which is no character",
]


def test_every_bad_row_is_listed_at_once(tmp_path):
    path = write_lines(tmp_path / "passages.jsonl", BAD_LINES)
    with pytest.raises(DataError) as caught:
        load_corpus(path)
    lines = ["9 problems in the data:", *(f"  {path}, {reason}" for reason in REASONS)]
    assert str(caught.value).splitlines() == [*lines, "Correct these rows, or leave them out with --skip_bad_rows."]


def test_bad_rows_can_be_skipped(tmp_path, log_lines):
    path = write_lines(tmp_path / "passages.jsonl", BAD_LINES)
    assert load_corpus(path, skip_bad_rows=True) == Corpus(["ok"], ["좋은 줄"], ["읽을 수 있다."])
    assert log_lines[0] == f"WARNING {path}: left out 9 bad rows of 10"


def test_a_key_that_appears_twice_hides_nothing(tmp_path):
    path = tmp_path / "wikipedia_documents.json"
    path.write_text('{"0": {"text": "하나"}, "0": {"text": "둘"}, "1": {}}', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_corpus(path)
    assert [str(problem) for problem in caught.value.problems] == [
        f'{path}, key "0": id \'0\' already stands for another text, in key "0"',
        f'{path}, key "1": no text',
    ]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", None, ": cannot be read: No such file or directory"),
        (
            "a.json",
            '{"0": {"text": "가나'.encode("cp949"),
            ": is not UTF-8: byte 0xb0 at offset 16; it reads as CP949, which iconv",
        ),
        ("a.json", b'{"0": {"text": "x"},\n "1": {"te', ", line 2, column 8: not valid JSON, or cut short: "),
        ("a.json", b'"x"', ': must hold one JSON object {"0": {"title": ..., "text": ...}, ...}, or a list of such'),
        ("a.json", b"{}", ": no passage in it"),
        ("a.jsonl", b"\n\n", ": no passage in it"),
        ("a.jsonl.gz", gzip.compress(b'{"id": 1, "text": "x"}', mtime=0)[:-9], ": is a damaged gzip file: "),
        ("a.json.gz", b"no gzip", ": is a damaged gzip file: "),
    ],
)
def test_a_file_that_cannot_be_read_raises_even_when_rows_may_be_skipped(tmp_path, name, content, problem):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_corpus(path, skip_bad_rows=True)
    assert str(caught.value).startswith(f"1 problem in the data:\n  {path}{problem}")


def test_other_file_names_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.json, \.csv, \.tsv, \.jsonl \(also with \.gz\) or \.parquet"):
        load_corpus(tmp_path / "passages.txt")


def test_the_hash_depends_on_every_field_and_on_the_order():
    corpora = [
        Corpus(["1", "2"], ["가", "나"], ["다", "라"]),
        Corpus(["2", "1"], ["나", "가"], ["라", "다"]),
        Corpus(["1", "3"], ["가", "나"], ["다", "라"]),
        Corpus(["1", "2"], ["가", ""], ["다", "나라"]),
        Corpus(["1", "2"], ["가", "나라"], ["다", ""]),
        Corpus(["1"], ["가"], ["다"]),
    ]
    assert len({corpus.hash for corpus in corpora}) == len(corpora)
    assert corpora[0].hash == Corpus(["1", "2"], ["가", "나"], ["다", "라"]).hash
    assert len(corpora[0].hash) == 64


def test_titles_are_searched_with_their_text():
    assert Corpus(["1", "2"], ["한강", ""], ["서해로 흐른다.", "제목 없음"]).search_texts() == [
        "한강\n서해로 흐른다.",
        "제목 없음",
    ]


def test_the_corpus_is_found_in_or_beside_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data/test_dataset/validation", "data/mini_wiki", "elsewhere/deep/down/there"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data/mini_wiki/test.json").touch()
    competition = write_json(tmp_path / "data/wikipedia_documents.json", {})
    own = write_json(tmp_path / "data/mini_wiki/wikipedia_documents.json", {})
    for dataset_path in ("data", "data/", "data/test_dataset/", "data/test_dataset/validation"):
        assert find_corpus(dataset_path) == competition
    for dataset_path in ("data/mini_wiki", "data/mini_wiki/test.json", "data/test_dataset/../mini_wiki"):
        assert find_corpus(dataset_path) == own
    for dataset_path in ("elsewhere/deep/down/there", "data/missing", "klue/klue"):
        with pytest.raises(UserError, match=f"--dataset_path {dataset_path}, .* name the corpus with --context_path"):
            find_corpus(dataset_path)
    with pytest.raises(UserError, match="beside --dataset_path data/missing, which is no file or folder here"):
        find_corpus("data/missing")


DOCUMENTS = Corpus(["1", "2"], ["한강", ""], ["한강은, 서해로\n흐른다.", '그는 "예"라 했다.'])


def test_every_form_gives_the_same_corpus(tmp_path):
    rows = [
        {"id": 1, "title": "한강", "text": DOCUMENTS.texts[0]},
        {"id": 2, "title": None, "text": DOCUMENTS.texts[1]},
    ]
    df = pd.DataFrame(rows)
    df.to_csv(tmp_path / "a.csv", index=False)
    df.to_csv(tmp_path / "with_index.csv", encoding="utf-8-sig")
    df.to_csv(tmp_path / "psgs.tsv", sep="\t", index=False, columns=["id", "text", "title"])
    df.astype({"id": float}).to_csv(tmp_path / "floats.csv.gz", index=False)
    df.astype({"id": float}).to_parquet(tmp_path / "a.parquet")
    write_json(tmp_path / "list.json", rows)
    write_lines(tmp_path / "beir.jsonl", [{"_id": str(row["id"]), **row, "id": None, "metadata": {}} for row in rows])
    (tmp_path / "list.json.gz").write_bytes(gzip.compress((tmp_path / "list.json").read_bytes()))
    for path in sorted(tmp_path.iterdir()):
        assert load_corpus(path) == DOCUMENTS, path.name


def test_columns_of_other_names_are_named_and_asked_for(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame({"no": [1, 2], "id": ["x", "y"], "body": ["한강", "달"], "name": ["가", "나"]}).to_csv(
        path, index=False
    )
    with pytest.raises(DataError) as caught:
        load_corpus(path)
    assert str(caught.value).splitlines()[1:] == [
        f"  {path}: needs the columns id, title and text (found no, id, body, name)",
        "Say which they are with --corpus_column text=ITS_NAME.",
    ]
    names = {"id": "no", "text": "body", "title": "name"}
    assert load_corpus(path, column_names=names) == Corpus(["1", "2"], ["가", "나"], ["한강", "달"])


def test_a_list_of_passages_without_ids_counts_them(tmp_path):
    assert load_corpus(write_json(tmp_path / "a.json", [{"text": "강"}, {"text": "달"}])).document_ids == ["0", "1"]


def test_chunks_have_names_of_their_own_and_another_hash():
    whole = Corpus(["1"], [""], ["한강은 길다."], {"3": "1"})
    parts = Corpus(["1", "1"], ["", ""], ["한강은", "길다."], {"3": "1"}, [0, 4])
    assert (parts.names([1, 0]), parts.passage_names([1, 0], "3")) == (["1", "1"], ["3#4", "3#0"])
    assert whole.passage_names([0]) == ["1"]
    moved = Corpus(["1", "1"], ["", ""], ["한강은", "길다."], {}, [0, 3])
    assert len({whole.hash, parts.hash, moved.hash}) == 3


_ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="" if sys.version_info >= (3, 11) else "\0"))


@settings(
    max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(passages=st.lists(st.tuples(_ANY_TEXT, _ANY_TEXT), min_size=1, unique_by=lambda passage: passage[1]))
def test_any_text_is_read_alike_from_every_form(passages, tmp_path):
    rows = [{"id": f"d{row}", "title": title, "text": f"글{text}"} for row, (title, text) in enumerate(passages)]
    write_json(tmp_path / "wikipedia_documents.json", {row["id"]: row for row in rows})
    write_lines(tmp_path / "lines.jsonl", rows)
    for suffix, delimiter in (("csv", ","), ("tsv", "\t")):
        with (tmp_path / f"table.{suffix}").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["id", "title", "text"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    read = {path.name: load_corpus(path) for path in tmp_path.iterdir()}
    expected = read["wikipedia_documents.json"]
    assert expected.texts == [row["text"] for row in rows] and expected.document_ids == [row["id"] for row in rows]
    assert all(corpus == expected for corpus in read.values()), read


def test_a_part_of_a_corpus_keeps_where_chunks_start_and_what_else_passages_are_called():
    whole = Corpus(["1", "1", "2"], ["가", "가", "나"], ["하나", "둘", "셋"], {"3": "1"}, [0, 3, 0])
    part = whole.part(slice(1, 9))
    assert part == Corpus(["1", "2"], ["가", "나"], ["둘", "셋"], starts=[3, 0])
    assert part.also_known_as == {"3": "1"} and part.hash != whole.hash
