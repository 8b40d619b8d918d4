"""Every layout gives the same columns; what is not there and what is damaged is said."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import datasets
import pandas as pd
import pytest
from written_examples import CONTEXT, GOLD, WAY_OUT, answer, error_text, question, squad, table, write

from loading.examples import example_features, hash_examples, load_examples
from runtime.errors import DataError, UserError

pytestmark = pytest.mark.usefixtures("_work_in")
COLUMNS = {
    "id": "string",
    "title": "string",
    "question": "string",
    "context": "string",
    "answers": {"text": ["string"], "answer_start": ["int64"]},
    "document_id": "string",
}


def test_dtypes_of_features_are_the_canonical_ones():
    features = example_features()
    assert list(features) == list(COLUMNS)
    assert features["id"].dtype == features["document_id"].dtype == "string"
    assert features["answers"]["answer_start"].feature.dtype == "int64"


# ------------------------------------------------------------------------------------------------------- layouts


def competition(folder="data"):
    train = table("t1", "t2", title=["한강", "한강"], document_id=[3, 4], __index_level_0__=[8, 9])
    dev = table("v1", title=["한강"], document_id=[5], __index_level_0__=[7])
    datasets.DatasetDict(train=train, validation=dev).save_to_disk(f"{folder}/train_dataset")
    test = datasets.Dataset.from_dict({"question": ["서울을 지나는 강은?"], "id": ["e1"]})
    datasets.DatasetDict(validation=test).save_to_disk(f"{folder}/test_dataset")
    write(f"{folder}/wikipedia_documents.json", {"0": {"title": "한강", "text": CONTEXT, "document_id": 0}})
    return folder


def test_competition_folder_gives_all_three_splits():
    examples = load_examples(competition(), ["test", "train", "validation"])

    assert list(examples) == ["test", "train", "validation"]
    for split in examples.values():
        assert split.features == example_features()
        assert list(split.features) == list(COLUMNS)
    assert examples["train"][1] == {
        "id": "t2",
        "title": "한강",
        "question": "한강은 어디로 흐르는가?",
        "context": CONTEXT,
        "answers": {"text": ["서해"], "answer_start": [11]},
        "document_id": "4",
    }
    assert examples["validation"]["id"] == ["v1"]
    assert examples["test"][0] == {
        "id": "e1",
        "title": "",
        "question": "서울을 지나는 강은?",
        "context": "",
        "answers": {"text": [], "answer_start": []},
        "document_id": "",
    }


def test_only_the_wanted_splits_are_read():
    competition()
    Path("data/test_dataset/validation/state.json").write_text("{", encoding="utf-8")

    assert list(load_examples("data", ["validation"])) == ["validation"]


def test_features_as_datasets_wrote_them_in_2021():
    competition()
    info = Path("data/train_dataset/train/dataset_info.json")
    content = json.loads(info.read_text(encoding="utf-8"))
    value = {"dtype": "int64", "id": None, "_type": "Value"}
    content["features"]["answers"] = {
        "feature": {"text": value | {"dtype": "string"}, "answer_start": value},
        "length": -1,
        "id": None,
        "_type": "Sequence",
    }
    info.write_text(json.dumps(content), encoding="utf-8")

    assert load_examples("data", ["train"])["train"][0]["answers"] == {"text": ["서해"], "answer_start": [11]}


@pytest.mark.parametrize(
    ("path", "splits", "ids"),
    [
        ("data/train_dataset", ["train", "validation"], [["t1", "t2"], ["v1"]]),
        ("data/test_dataset/", ["test"], [["e1"]]),
        ("data/test_dataset/validation", ["test"], [["e1"]]),
        ("data/train_dataset/train", ["validation"], [["t1", "t2"]]),
        ("data/train_dataset", ["test"], [["v1"]]),
    ],
)
def test_saved_folders_by_themselves(path, splits, ids):
    competition()
    examples = load_examples(path, splits)
    assert [examples[split]["id"][:] for split in splits] == ids


def test_a_table_without_a_telling_name_serves_every_split():
    table("a", "b").save_to_disk("mine")
    examples = load_examples("mine", ["train", "validation"])
    assert examples["train"]["id"] == examples["validation"]["id"] == ["a", "b"]


def test_a_table_may_hold_answers_as_a_list_of_objects():
    features = datasets.Features(
        {
            "guid": datasets.Value("string"),
            "question": datasets.Value("large_string"),
            "context": datasets.Value("string"),
            "answers": datasets.List({"text": datasets.Value("string"), "answer_start": datasets.Value("int32")}),
        }
    )
    rows = [{"guid": "g", "question": "무엇?", "context": CONTEXT, "answers": [GOLD, GOLD]}]
    datasets.Dataset.from_list(rows, features=features).with_format("numpy").save_to_disk("mine")

    row = load_examples("mine", ["train"])["train"][0]
    assert (row["id"], row["answers"]) == ("g", {"text": ["서해"] * 2, "answer_start": [11] * 2})


@pytest.mark.parametrize(
    ("names", "splits", "read"),
    [
        (["train.json", "validation.json", "test.json"], ["train", "validation", "test"], [0, 1, 2]),
        (["train.json", "dev.json"], ["validation"], [1]),
        (["KorQuAD_v1.0_train.json", "KorQuAD_v1.0_dev.json"], ["train", "validation"], [0, 1]),
        (["test.json", "test_answers.json", "wikipedia_documents.json"], ["test"], [0]),
        (["dev.json", "dev_old.json"], ["validation"], [0]),
    ],
)
def test_folder_of_json(names, splits, read):
    for name in names:
        write(f"data/{name}", squad(question(name)))
    examples = load_examples("data", splits)
    assert [examples[split]["id"][0] for split in splits] == [names[index] for index in read]


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("train.json", ["train"]),
        ("test_answers.json", ["validation"]),  # one wanted split: any file serves
        ("questions.json", ["train", "validation"]),
    ],
)
def test_one_json_file(name, splits):
    examples = load_examples(write(name, squad(question())), splits)
    assert {split: rows["id"][:] for split, rows in examples.items()} == {split: ["q1"] for split in splits}


def test_squad_1_with_a_byte_order_mark_and_several_gold_answers():
    km = {"text": "494km", "answer_start": CONTEXT.index("494km")}
    text = json.dumps(squad(question(answers=[GOLD, km]), question(7)), ensure_ascii=False)
    Path("dev.json").write_text("\ufeff" + text, encoding="utf-8")

    rows = load_examples("dev.json", ["validation"])["validation"]

    assert rows[0]["answers"] == {"text": ["서해", "494km"], "answer_start": [11, km["answer_start"]]}
    assert (rows[1]["id"], rows[1]["title"], rows[1]["document_id"]) == ("7", "한강", "")


def test_titles_that_are_page_addresses_get_their_spaces_back():
    data = squad(question())
    data["data"][0]["title"] = "고대_노르드어"
    write("dev.json", data)
    assert load_examples("dev.json", ["validation"])["validation"][0]["title"] == "고대 노르드어"


def test_squad_2_and_klue_keep_unanswerable_questions_with_empty_answers():
    plausible = {"text": "서울", "answer_start": 4}
    squad_2 = squad(
        question("answerable", is_impossible=False),
        question("squad 2.0", is_impossible=True, answers=[], plausible_answers=[plausible]),
        question("no mark", answers=[]),
    )
    klue = question(..., guid="klue-mrc-v1_train_00001", question_type=1, is_impossible=False)
    klue_3 = question(
        ..., guid="klue-mrc-v1_train_00002", question_type=3, is_impossible=True, plausible_answer=[plausible]
    )
    squad_2["data"] += squad(klue, klue_3)["data"]
    squad_2["data"][1] |= {"news_category": "지리", "source": "wikipedia"}

    rows = load_examples(write("train.json", squad_2), ["train"])["train"]

    assert rows["id"] == ["answerable", "squad 2.0", "no mark", "klue-mrc-v1_train_00001", "klue-mrc-v1_train_00002"]
    assert [answers["text"] for answers in rows["answers"]] == [["서해"], [], [], ["서해"], []]
    assert [answers["answer_start"] for answers in rows["answers"]] == [[11], [], [], [11], []]


def test_question_types_are_read_on_request_and_never_at_fault():
    kinds = [1, "2", None, [3], "\ud800"]
    content = squad(*(question(f"q{n}", question_type=kind) for n, kind in enumerate(kinds)), question("q5"))
    path = "dev.json"
    Path(path).write_text(json.dumps(content), encoding="utf-8")
    rows = load_examples(path, ["validation"], question_types=True)["validation"]
    assert rows["question_type"] == ["1", "2", "", "", "", ""]
    plain = load_examples(path, ["validation"])["validation"]
    assert "question_type" not in plain.column_names
    assert plain.to_list() == rows.remove_columns("question_type").to_list()


def test_question_types_of_a_saved_data_set_are_read_on_request(tmp_path):
    row = {"id": "q", "question": "물음", "context": CONTEXT, "answers": {"text": ["서해"], "answer_start": [11]}}
    for kind, text in ((3, "3"), ("추론", "추론"), ([1], "")):
        saved = datasets.Dataset.from_list([row | {"question_type": kind}])
        saved.save_to_disk(str(tmp_path / text / "saved"))
        rows = load_examples(str(tmp_path / text / "saved"), ["validation"], question_types=True)["validation"]
        assert rows["question_type"] == [text]


def test_document_ids_of_a_paragraph_reach_its_questions():
    content = squad(question("a"), question("b", document_id="b's own"))
    content["data"][0]["paragraphs"][0]["document_id"] = 12
    assert load_examples(write("train.json", content), ["train"])["train"]["document_id"] == ["12", "b's own"]


def test_test_questions_need_only_id_and_question_but_keep_what_they_have():
    content = squad(question("bare", answers=...), context=...)
    content["data"] += squad(question("empty", answers=[]), context="")["data"] + squad(question("full"))["data"]
    rows = load_examples(write("test.json", content), ["test"])["test"]
    assert rows["context"] == ["", "", CONTEXT]
    assert [answers["text"] for answers in rows["answers"]] == [[], [], ["서해"]]


def test_hub_names(monkeypatch):
    asked = []
    hub = datasets.DatasetDict(train=table("t"), validation=table("v"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *name: asked.append(name) or hub)

    assert load_examples("klue:mrc", ["validation", "test"])["test"]["id"] == ["v"]
    assert load_examples("owner/squad_kor_v1", ["train"])["train"]["id"] == ["t"]
    assert asked == [("klue", "mrc"), ("owner/squad_kor_v1", None)]


# ------------------------------------------------------------------------------------------ paths and splits amiss

A_DATA_SET_IS = (
    "a data set is a competition folder (train_dataset/, test_dataset/), a folder written by save_to_disk, "
    "SQuAD-format JSON or a table (.csv, .tsv, .jsonl, .parquet), as a file or as a folder with train, validation or "
    "dev, and test (train.json), a BEIR folder, or a hub name (squad_kor_v1, klue:mrc)"
)


@pytest.mark.parametrize(
    ("files", "path", "splits", "message"),
    [
        ([], "../nowhere", ["train"], f"../nowhere does not exist; {A_DATA_SET_IS}"),
        ([], "nowhere.json", ["train"], f"nowhere.json does not exist; {A_DATA_SET_IS}"),
        ([], "a/b/c", ["train"], f"a/b/c does not exist; {A_DATA_SET_IS}"),
        (["empty/"], "empty", ["train"], f"empty holds no data set (found nothing); {A_DATA_SET_IS}"),
        (["d/a.txt", "d/b.doc"], "d", ["test"], f"d holds no data set (found a.txt, b.doc); {A_DATA_SET_IS}"),
        (["d/a.csv", "d/b.csv"], "d", ["test"], f"d has no test split (found a.csv, b.csv); {A_DATA_SET_IS}"),
        (["d/train.json"], "d", ["train", "test"], f"d has no test split (found train.json); {A_DATA_SET_IS}"),
        (["d/wikipedia_documents.json"], "d", ["train"], f"d has no train split (found nothing); {A_DATA_SET_IS}"),
        (
            ["train_v1.json"],
            "train_v1.json",
            ["train", "validation"],
            f"train_v1.json has no validation split (found train); {A_DATA_SET_IS}",
        ),
        (
            ["d/dev_a.json", "d/dev_b.json"],
            "d",
            ["validation"],
            "d has several files for the validation split (dev_a.json, dev_b.json); keep one, or name the file itself",
        ),
        (
            ["d/dev.json", "d/validation.json"],
            "d",
            ["validation"],
            "d has several files for the validation split (dev.json, validation.json); keep one, "
            "or name the file itself",
        ),
        (
            ["d/train_dataset/"],
            "d",
            ["test"],
            f"d/test_dataset has no test split (found nothing); {A_DATA_SET_IS}",
        ),
    ],
)
def test_what_is_not_there_is_said_with_what_is(files, path, splits, message):
    for name in files:
        if name.endswith("/"):
            Path(name).mkdir(parents=True)
        else:
            write(name, squad(question()))
    with pytest.raises(UserError) as raised:
        load_examples(path, splits)
    assert str(raised.value) == message


def test_missing_split_of_a_saved_dict():
    datasets.DatasetDict(train=table("a")).save_to_disk("mine")
    with pytest.raises(UserError) as raised:
        load_examples("mine", ["train", "validation"])
    assert str(raised.value) == f"mine has no validation split (found train); {A_DATA_SET_IS}"


def test_one_table_is_not_taken_for_train_and_validation_of_the_competition():
    table("a").save_to_disk("data/train_dataset")
    with pytest.raises(UserError) as raised:
        load_examples("data", ["train", "validation"])
    assert str(raised.value) == f"data/train_dataset has no validation split (found train); {A_DATA_SET_IS}"


def test_hub_out_of_reach_is_one_sentence(monkeypatch):
    def unreachable(*name):
        raise ConnectionError("Couldn't reach 'nobody/nothing'\non the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError) as raised:
        load_examples("nobody/nothing", ["train"])
    assert str(raised.value) == (
        "nobody/nothing does not exist here, and the hub does not give it "
        f"(Couldn't reach 'nobody/nothing' on the Hub (OfflineModeIsEnabled)); {A_DATA_SET_IS}"
    )


# --------------------------------------------------------------------------------------------- damage, rows of tables


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b'{"data": "\xb0\xad"}',
            "is not UTF-8: byte 0xb0 at offset 10; it reads as CP949, which "
            "iconv -f CP949 -t UTF-8 train.json > utf-8-train.json converts",
        ),
        (b'{"data": [\n {"title": "a"', "is not valid JSON: Expecting ',' delimiter at line 2, column 15"),
        (b"", "is not valid JSON: Expecting value at line 1, column 1"),
        (b"1", 'is not SQuAD format: expected an object with a list "data", not a int'),
        (
            b'[{"question": "?", "answers": [], "positive_ctxs": []}]',
            "is DPR JSON, whose questions have no contexts: train_dpr.py and train_reranker.py read it",
        ),
        (
            b'{"0": {"title": "a", "text": "b"}}',
            'is not SQuAD format: expected an object with a list "data", not an object (found 0)',
        ),
        (b'{"data": []}', "holds no questions"),
    ],
)
@pytest.mark.parametrize("skip_bad_rows", [False, True])
def test_damaged_file(content, problem, skip_bad_rows):
    Path("train.json").write_bytes(content)
    expected = f"1 problem in the data:\n  train.json: {problem}"
    assert error_text("train.json", ["train"], skip_bad_rows) == expected


def test_damaged_saved_folder():
    table("a").save_to_disk("mine")
    arrow = Path("mine/data-00000-of-00001.arrow")
    arrow.write_bytes(arrow.read_bytes()[:100])
    assert error_text("mine", ["train"]).startswith("1 problem in the data:\n  mine: cannot be read: ")
    table("가나").save_to_disk("other")
    arrow = Path("other/data-00000-of-00001.arrow")
    arrow.write_bytes(arrow.read_bytes().replace("가나".encode(), b"\xff" * 6))
    assert re.match(r"1 problem in the data:\n  other: cannot be read: .*Invalid UTF8", error_text("other", ["train"]))


MEANT = "if another one is meant, add --column"


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        (
            {"context": ...},
            [f"mine, column context: is missing (found id, question, answers); {MEANT} context=ITS_NAME"],
        ),
        ({"id": ...}, [f"mine, column id: is missing (found question, context, answers); {MEANT} id=ITS_NAME"]),
        (
            {"question": [1, 2], "answers": [1, 2]},
            [
                "mine, column question: holds int64, not text",
                "mine, column answers: holds int64, not text and answer_start, or texts",
            ],
        ),
        ({"title": [["a"], ["b"]]}, ["mine, column title: holds List(Value('string')), not text"]),
    ],
)
def test_columns_amiss_are_said_once_and_not_for_every_row(changes, problems):
    table("a", "b", **changes).save_to_disk("mine")
    noun = "problem" if len(problems) == 1 else "problems"
    assert error_text("mine", ["train"]) == "\n  ".join([f"{len(problems)} {noun} in the data:", *problems])


def test_test_tables_need_no_context_and_no_answers():
    table("a", context=..., answers=...).save_to_disk("mine")
    assert load_examples("mine", ["test"])["test"]["id"] == ["a"]


NESTED = {"text": datasets.List(datasets.Value("string")), "answer_start": datasets.List(datasets.Value("int64"))}
OBJECTS = datasets.List({"text": datasets.Value("string"), "answer_start": datasets.Value("int64")})


@pytest.mark.parametrize("answers", [NESTED, OBJECTS], ids=["object of lists", "list of objects"])
def test_a_row_of_nothing_is_one_bad_row(answers, log_lines):
    texts = dict.fromkeys(("id", "question", "context", "title", "document_id"), datasets.Value("string"))
    gold = [GOLD] if answers is OBJECTS else {name: [value] for name, value in GOLD.items()}
    good = {"id": "a", "question": "?", "context": CONTEXT, "answers": gold, "title": None, "document_id": None}
    rows = [dict.fromkeys(good), good]
    datasets.Dataset.from_list(rows, features=datasets.Features(texts | {"answers": answers})).save_to_disk("mine")
    assert error_text("mine", ["train"]) == "\n".join(
        ["4 problems in the data:"]
        + [f"  mine, row 0: {name} is missing" for name in ("id", "question", "context", "answers")]
        + [WAY_OUT]
    )
    assert load_examples("mine", ["train"], skip_bad_rows=True)["train"]["id"] == ["a"]
    assert log_lines == ["mine: left out 1 of 2 rows: id is missing (1)"]


def test_rows_of_a_table_are_named_by_their_number():
    table("a", "b", "a", question=["무엇?", None, ""]).save_to_disk("mine")
    assert error_text("mine", ["train"]) == (
        "3 problems in the data:\n"
        "  mine, row 1 (id b): question is missing\n"
        "  mine, row 2 (id a): question is empty\n"
        "  mine, row 2 (id a): id is used twice: first at row 0\n"
        f"{WAY_OUT}"
    )


def test_everything_wrong_in_every_wanted_file_is_one_error():
    write("data/train.json", squad(question(question=""), question("q2", **answer("서해", 0))))
    Path("data/dev.json").write_text('{"data": [', encoding="utf-8")
    write("data/test.json", squad(question(id=..., answers=[])))

    assert error_text("data", ["train", "validation", "test"]) == (
        "4 problems in the data:\n"
        "  data/dev.json: is not valid JSON: Expecting value at line 1, column 11\n"
        "  data/train.json, data[0].paragraphs[0].qas[0] (id q1): question is empty\n"
        "  data/train.json, data[0].paragraphs[0].qas[1] (id q2): answer is not at answer_start: "
        "at 0 stands '한강'; '서해' first occurs at 11\n"
        "  data/test.json, data[0].paragraphs[0].qas[0]: id is missing\n"
        f"{WAY_OUT}"
    )


def test_a_file_that_serves_two_splits_is_complained_about_once():
    path = write("questions.json", squad(question(question="")))
    assert error_text(path, ["train", "validation"]).startswith("1 problem in the data:")


# -------------------------------------------------------------------------------------------------- skip_bad_rows


@pytest.fixture
def log_lines(monkeypatch):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("transformers.odqa.loading.examples")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_skip_bad_rows_keeps_the_good_ones_and_says_what_is_gone(log_lines):
    rows = [
        question("good"),
        question("a", question=""),
        question("b", question="", **answer("서해", 0)),  # counted once
        question("c", **answer("서해", 0)),
        question("good"),
        question("last"),
    ]
    write("data/train.json", squad(*rows))
    write("data/dev.json", squad(question("fine")))

    examples = load_examples("data", ["train", "validation"], skip_bad_rows=True)

    assert examples["train"]["id"] == ["good", "last"]
    assert examples["validation"]["id"] == ["fine"]
    assert log_lines == [
        "data/train.json: left out 4 of 6 rows: question is empty (2), "
        "answer is not at answer_start (1), id is used twice (1)"
    ]


def test_skip_bad_rows_does_not_end_with_nothing():
    path = write("train.json", squad(question(question=""), question("b", question="")))
    assert error_text(path, ["train"], skip_bad_rows=True) == (
        "1 problem in the data:\n  train.json: all rows are bad: 2 of 2 rows: question is empty (2)"
    )


def test_skip_bad_rows_does_not_pass_over_damage():
    write("data/train.json", squad(question(), question("b", question="")))
    Path("data/dev.json").write_bytes(b"\xff")
    assert error_text("data", ["train", "validation"], skip_bad_rows=True) == (
        "1 problem in the data:\n  data/dev.json: is not UTF-8: byte 0xff at offset 0"
    )


def test_columns_with_other_names(tmp_path: Path) -> None:
    names = {"id": "guid_number", "question": "query", "context": "passage", "answers": "spans"}
    row = {
        "guid_number": 7,
        "query": "수도는?",
        "passage": "서울은 수도이다.",
        "spans": {"text": ["서울"], "answer_start": [0]},
    }
    datasets.Dataset.from_list([row]).save_to_disk(str(tmp_path / "table"))
    question = {"guid_number": "7", "query": row["query"], "spans": [{"text": "서울", "answer_start": 0}]}
    content = {"data": [{"paragraphs": [{"passage": row["passage"], "qas": [question]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(content), encoding="utf-8")
    for path in ("table", "squad.json"):
        (example,) = load_examples(str(tmp_path / path), ["train"], column_names=names)["train"]
        assert (example["id"], example["question"], example["context"]) == ("7", "수도는?", "서울은 수도이다.")
        assert example["answers"] == {"text": ["서울"], "answer_start": [0]}


def test_the_hash_of_examples_follows_their_contents_alone(dataset_path: str) -> None:
    examples = load_examples(dataset_path, ["validation"])["validation"]
    reordered = examples.select_columns(list(reversed(examples.column_names)))
    assert hash_examples(reordered) == hash_examples(examples.with_format("numpy")) == hash_examples(examples)
    assert hash_examples(examples.select([1, 0])) != hash_examples(examples.select([0, 1]))


# ------------------------------------------------------------------------------------------------------------- tables

FLAT = {"id": 7, "question": "한강은 어디로 흐르는가?", "context": CONTEXT, "answer": "서해", "title": None}
EXAMPLE = {
    "id": "7", "title": "", "question": FLAT["question"], "context": CONTEXT,
    "answers": {"text": ["서해"], "answer_start": [11]}, "document_id": "",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["train.csv", "train.tsv", "train.jsonl", "train.json", "train.parquet", "train.csv.gz"]
)
def test_flat_rows_of_every_form_are_the_same_examples(name):
    df = pd.DataFrame([FLAT])
    Path("data").mkdir()
    match name.split(".")[1]:
        case "csv":
            df.to_csv(f"data/{name}", encoding="utf-8-sig")  # with its index, as many files come
        case "tsv":
            df.to_csv(f"data/{name}", sep="\t", index=False)
        case "jsonl":
            df.to_json(f"data/{name}", orient="records", lines=True, force_ascii=False)
        case "json":
            df.to_json(f"data/{name}", orient="records", force_ascii=False)
        case "parquet":
            df.astype({"id": float}).to_parquet(f"data/{name}")
    for path in ("data", f"data/{name}"):
        assert load_examples(path, ["train"])["train"].to_list() == [EXAMPLE]


@pytest.mark.parametrize("write_as", ["lists", "arrays", "json", "start", "floats"])
def test_answers_that_a_csv_holds_as_text(write_as):
    answers = {"text": ["서해", "494km"], "answer_start": [11, 26]}
    df = pd.DataFrame([FLAT | {"answers": answers}]).drop(columns="answer")
    if write_as == "arrays":  # as datasets and pyarrow give them to pandas
        df.to_parquet("a.parquet")
        df = pd.read_parquet("a.parquet")
        assert "array(" in df.to_csv()
    elif write_as == "json":
        df["answers"] = json.dumps(answers)
    elif write_as in ("start", "floats"):
        answers = {"text": ["서해"], "answer_start": [11]}
        df = df.assign(answers="서해", answer_start=11.0 if write_as == "floats" else 11)
    df.to_csv("train.csv", index=False)
    assert load_examples("train.csv", ["train"])["train"][0]["answers"] == answers


def test_what_is_wrong_with_a_csv_is_said_all_at_once_with_its_lines():
    Path("train.csv").write_text(
        "id,question,context,answer,is_impossible\n"
        '1,강은?,"한강은\n길다",한강,False\n'
        "2,강은?,강과 강,강,\n"
        "3,강은?,한강,동해,\n"
        "4,,한강,,\n"
        "5,강은?,한강,,True\n"
        "6,강은?,한강\n",
        encoding="utf-8",
    )
    assert error_text("train.csv", ["train"]) == (
        "5 problems in the data:\n"
        "  train.csv, line 4 (id 2): answer_start is missing: '강' occurs 2 times in the context\n"
        "  train.csv, line 5 (id 3): answer_start is missing: '동해' is nowhere in the context\n"
        "  train.csv, line 6 (id 4): question is missing\n"
        "  train.csv, line 6 (id 4): answers is missing\n"
        "  train.csv, line 8: has 3 cells where the first line names 5 columns\n"
        f"{WAY_OUT}"
    )
    rows = load_examples("train.csv", ["train"], skip_bad_rows=True)["train"]
    assert (rows["id"], rows["answers"][1]["text"]) == (["1", "5"], [])


@pytest.mark.parametrize("name", ["q.csv", "q.parquet"])
def test_columns_that_a_table_lacks_are_asked_for_by_flag(name):
    df = pd.DataFrame([{"no": "7", "id": "other", "q": FLAT["question"], "text": CONTEXT, "answer": "서해"}])
    df.to_csv(name, index=False) if name.endswith("csv") else df.to_parquet(name)
    assert error_text(name, ["train"]) == (
        "2 problems in the data:\n"
        f"  {name}, column question: is missing (found no, id, q, text, answer); {MEANT} question=ITS_NAME\n"
        f"  {name}, column context: is missing (found no, id, q, text, answer); {MEANT} context=ITS_NAME"
    )
    names = {"id": "no", "question": "q", "context": "text"}
    assert load_examples(name, ["train"], column_names=names)["train"].to_list() == [EXAMPLE]
    with pytest.raises(DataError, match=r"has no column body to read context from \(found no, id, q, text, answer\)"):
        load_examples(name, ["train"], column_names={"context": "body"})


def test_questions_alone_may_have_answers_without_places():
    pd.DataFrame([{"id": 1, "question": "강은?", "answer": "한강"}]).to_csv("open.csv", index=False)
    (row,) = load_examples("open.csv", ["validation"], questions_only=True)["validation"]
    assert (row["context"], row["answers"]) == ("", {"text": ["한강"], "answer_start": [-1]})
    assert "column context: is missing" in error_text("open.csv", ["validation"])


def test_aihub_has_names_of_its_own():
    answer = {"text": "서해", "answer_start": 11, "clue_text": "서해로 흐르며", "clue_start": 11}
    asked = {"question": "어디로?", "is_impossible": False, "qa_type": 1}
    qas = [
        asked | {"question_id": 4559297, "answers": answer},
        asked | {"question_id": "4559298", "answers": [answer]},
        asked | {"question_id": 4559299, "is_impossible": True, "answers": {"text": "", "answer_start": 0}},
    ]
    article = {
        "doc_id": "2202552",
        "doc_title": "한강",
        "paragraphs": [{"context_id": 1, "context": CONTEXT, "qas": qas}],
    }
    write("TL_span_extraction.json", {"Dataset": {"category": 2}, "data": [article]})
    rows = load_examples("TL_span_extraction.json", ["train"])["train"]
    assert rows["id"] == ["4559297", "4559298", "4559299"]
    assert [answers["text"] for answers in rows["answers"]] == [["서해"], ["서해"], []]
    assert set(rows["title"]) == {"한강"} and set(rows["document_id"]) == {"2202552"}


@pytest.mark.parametrize("content", [[], {}, {"splits": None}, {"splits": ["train", 1]}])
def test_a_damaged_list_of_splits_is_said(content):
    write("mine/dataset_dict.json", content)
    assert "is not what save_to_disk writes" in error_text("mine", ["train"])
