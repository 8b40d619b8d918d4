"""The flags of the commands: documented, read, and refused where they would have no effect."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import typing
from collections import Counter
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest

import arguments
from arguments import (
    AverageArguments,
    DatasetArguments,
    EnsembleArguments,
    InferenceArguments,
    PostprocessArguments,
    ReportArguments,
    RetrieveArguments,
    RetrieverArguments,
    RunArguments,
    ScoreArguments,
    SweepArguments,
    TrainDPRArguments,
    TrainMRCArguments,
    TrainMRCV2Arguments,
    TrainRerankerArguments,
    parse_arguments,
    record_of,
)
from loading.arguments import column_names
from models.arguments import EncoderSpec
from models.heads import HEADS
from reading.augmentation import AUGMENTATIONS
from retrieval import RETRIEVERS
from retrieval.spec import arguments_of
from runtime.errors import UserError
from runtime.flags import COMMANDS, ReadByChosen, default_of, fields_by_name, flag_of, spelling_of
from runtime.help_page import invocation
from runtime.masking import is_secret
from training.trainer_flags import trainer_fields

ROOT = Path(arguments.__file__).parent
# What a command needs before anything else is looked at.
NEEDS = {
    TrainMRCV2Arguments: "--do_train",
    InferenceArguments: "--do_predict",
    ScoreArguments: "--gold a --predictions b",
    AverageArguments: "a --output_dir b",
    EnsembleArguments: "--members a b --output_dir c",
    ReportArguments: "a",
    SweepArguments: '--grid {"head":["cnn"]} --flags {"do_eval":true}',
    PostprocessArguments: "--nbest a --gold b",
}
FLAGS = [
    pytest.param(command, field, id=f"{file} --{spelling_of(field)}")
    for file, command in COMMANDS.items()
    for field in fields_by_name(command).values()
]
OF_THE_TRAINER = {field.name for field in trainer_fields()}


def parse(words: str | list[str], command: type = TrainMRCArguments) -> dict[str, Any]:
    """Return the values of all flags, by their names in the code, of ``COMMAND WORDS``."""
    words = words.split() if isinstance(words, str) else words
    return dataclasses.asdict(parse_arguments(command, [*NEEDS.get(command, "").split(), *words]))


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]):
    """Return the complaints about a command line that is refused."""

    def refuse(words: str | list[str], command: type = TrainMRCArguments) -> list[str]:
        with pytest.raises(SystemExit) as end:
            parse(words, command)
        assert end.value.code == 2
        shown = capsys.readouterr()
        *complaints, hint = shown.err.splitlines()
        assert (shown.out, hint) == ("", f"see {invocation(command.command)} --help")
        start = f"{command.command}: error: "
        assert complaints and all(complaint.startswith(start) for complaint in complaints)
        return [complaint.removeprefix(start) for complaint in complaints]

    return refuse


# ------------------------------------------------------------------------------------------------------ the dataclasses


@pytest.mark.parametrize(("command", "field"), FLAGS)
def test_every_flag_has_one_line_of_help_and_a_group(command: type, field: dataclasses.Field) -> None:
    text = flag_of(field).help
    assert text and "\n" not in text and flag_of(field).group
    if field.name not in OF_THE_TRAINER:
        assert text.endswith((".", ")")) and len(text) < 260


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_two_flags_of_a_command_are_spelled_alike(command: type) -> None:
    spellings = Counter(
        name for field in fields_by_name(command).values() for name in (spelling_of(field), *flag_of(field).aliases)
    )
    assert [name for name, count in spellings.items() if count > 1] == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_condition_can_be_asked_of_its_command(command: type) -> None:
    """None looks at a flag that the command has not."""
    args = parse_arguments(command, NEEDS.get(command, "").split())
    readings = args.readings() if hasattr(args, "readings") else [args]
    conditions = [test for field in fields_by_name(command).values() for test in flag_of(field).read_if]
    answers = [test(reading) for test in conditions for reading in readings]
    assert all(answer is None or isinstance(answer, str) for answer in answers)


# Flags that are read by their names in a registry or in the Trainer's arguments rather than one by one.
_READ_BY_NAME = {
    *(field.name for field in dataclasses.fields(EncoderSpec)),
    *(name for head in HEADS.values() if head.flags for name in fields_by_name(head.flags)),
    *("max_seq_len", "stride_len", "max_ans_len", "version_2_with_negative", "postprocess"),  # reader_settings
    *OF_THE_TRAINER,
}
_HOLDERS = {
    "args", "arguments", "options", "self", "dataset_args", "data", "dataset", "own", "given", "run", "settings",
    "settled",
}  # fmt: skip


_DECLARING = ("arguments.py", "trainer_flags.py")


def _names_read() -> set[str]:
    """Every attribute that product code reads of something that holds arguments, but for where flags are declared."""
    folders = [".", "loading", "models", "reading", "retrieval", "runtime", "tools", "training"]
    files = [path for folder in folders for path in (ROOT / folder).glob("*.py") if path.name not in _DECLARING]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    groups = [path for folder in folders for path in (ROOT / folder).glob("arguments.py")]
    for path in groups:  # a property is made of flags
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        trees += [node for node in nodes if isinstance(node, ast.FunctionDef) and _is_property(node)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] in _HOLDERS
    }


def _is_property(function: ast.FunctionDef) -> bool:
    return [ast.unparse(decorator) for decorator in function.decorator_list] == ["property"]


def test_every_flag_is_read() -> None:
    declared = {name for command in COMMANDS.values() for name in fields_by_name(command)}
    # groups of code alone (parts_named_in, settle) read these
    former = {"group_by_length", "save_safetensors", "do_train"}
    assert declared - _names_read() - _READ_BY_NAME == former - OF_THE_TRAINER


def test_every_place_that_is_written_is_known_as_one() -> None:
    """So that one which cannot be written is refused before anything is read."""
    places = {
        field.name: flag_of(field).writes
        for command in COMMANDS.values()
        for field in fields_by_name(command).values()
        if flag_of(field).writes or re.search(r"Folder for|[Ww]rite .* to this", flag_of(field).help)
    }
    files = {"errors", "output", "output_file", "write_dpr_json"}
    stores, folders = {"index_dir", "cache_dir"}, {"output_dir", "logging_dir"}
    kinds = {"file": files, "store": stores, "folder": folders}
    assert places == {name: kind for kind, names in kinds.items() for name in names}


def test_every_number_has_a_range() -> None:
    free = {
        field.name
        for command in COMMANDS.values()
        for field in fields_by_name(command).values()
        if type(default_of(field)) in (int, float) and flag_of(field).at_least == flag_of(field).above == -float("inf")
    }
    assert free - OF_THE_TRAINER == {"null_score_diff_threshold"}  # any number is right for it
    assert "max_steps" in free  # and for this


# -------------------------------------------------------------------------------------------------------------- values


def test_without_flags_every_value_is_its_default() -> None:
    assert parse("") == dataclasses.asdict(TrainMRCArguments())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--max_seq_len 512 --learning_rate 1e-5", {"max_seq_len": 512, "learning_rate": 1e-5}),
        ("--max-seq-len 512", {"max_seq_len": 512}),
        ("--learning_rate=3e-4", {"learning_rate": 3e-4}),
        ("--concat_eval", {"concat_eval": True}),
        ("--concat_eval True", {"concat_eval": True}),
        ("--concat_eval false", {"concat_eval": False}),
        ("--custom_model linear", {"head": "linear"}),
        ("--data_dir ../data", {"dataset_path": "../data"}),
        ("--evaluation_strategy epoch", {"eval_strategy": "epoch"}),
        ("--version_2_with_negative --do_eval --null_score_diff_threshold -1.5", {"null_score_diff_threshold": -1.5}),
        ("--version_2_with_negative --do_eval --null_score_diff_threshold -1e-3", {"null_score_diff_threshold": -1e-3}),
        ("--version_2_with_negative --do_eval --null_score_diff_threshold -.5", {"null_score_diff_threshold": -0.5}),
        ("--save_total_limit 2 --do_eval", {"save_total_limit": 2}),
        ("--num_train_epochs 0.5", {"num_train_epochs": 0.5}),
        ("--resume_from_checkpoint true", {"resume_from_checkpoint": "true"}),
        ("--resume_from_checkpoint False", {"resume_from_checkpoint": None}),
        ("--max_seq_len 64 --stride_len 63", {"stride_len": 63}),
    ],
)
def test_flags_are_read(words: str, expected: dict[str, Any]) -> None:
    values = parse(words)
    assert {name: values[name] for name in expected} == expected


def test_a_name_of_a_run_is_a_folder_in_the_others() -> None:
    assert (RunArguments("out").run_dir, RunArguments("out").log_dir) == ("out", "out")
    named = RunArguments("out", run_name="a")
    assert (named.run_dir, named.log_dir) == (os.path.join("out", "a"),) * 2
    logged = RunArguments("out", run_name="a", logging_dir="logs")
    assert (logged.run_dir, logged.log_dir) == (os.path.join("out", "a"), os.path.join("logs", "a"))
    assert RunArguments("out", logging_dir="logs").log_dir == "logs"
    assert TrainDPRArguments(output_dir="dpr", run_name="a").run_dir == os.path.join("dpr", "a")


def test_constructors_understand_the_older_names_of_flags() -> None:
    assert DatasetArguments(data_dir="there").dataset_path == "there"
    assert DatasetArguments(data_dir="there", max_seq_len=512) == DatasetArguments("there", 512)
    for command in COMMANDS.values():
        needed = {name: "" for name, field in fields_by_name(command).items() if default_of(field) is MISSING}
        for field in fields_by_name(command).values():
            for alias in flag_of(field).aliases:
                assert getattr(command(**{alias: "7"}, **needed), field.name) == "7", (command, alias)
    with pytest.raises(TypeError, match="takes only one of data_dir and dataset_path"):
        DatasetArguments(data_dir="a", dataset_path="b")
    with pytest.raises(TypeError, match="unexpected keyword argument 'folder'"):
        DatasetArguments(folder="a")
    assert dataclasses.replace(DatasetArguments(data_dir="a"), stride_len=1).dataset_path == "a"


def test_commands_have_defaults_of_their_own() -> None:
    folders = {file: getattr(command, "output_dir", None) for file, command in COMMANDS.items()}
    assert folders == {
        "train_mrc.py": "./saved",
        "train_mrc_v2.py": "./saved",
        "train_dpr.py": "./models/retriever",
        "train_reranker.py": "./saved/reranker",
        "inference.py": "./outputs",
        "ask.py": None,
        "retrieve.py": "./outputs/retrieval",
        "average.py": None,
        "score.py": None,
        "tools.demo": None,
        "tools.ensemble": None,
        "tools.report": None,
        "tools.robustness": "./outputs/robustness",
        "tools.sweep": "./saved/sweep",
        "tools.check": None,
        "tools.postprocess": None,
    }
    for command in (TrainMRCArguments, TrainMRCV2Arguments, InferenceArguments):  # a reader brings these
        values = parse("", command)
        assert [values[name] for name in ("max_seq_len", "stride_len", "max_ans_len")] == [None] * 3
        assert (values["version_2_with_negative"], values["postprocess"]) == (None, None)
    assert (parse("", TrainDPRArguments)["learning_rate"], parse("")["learning_rate"]) == (2e-5, 3e-5)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_help_fits_a_screen_and_shows_every_flag(command: type, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            parse_arguments(command, words)
        assert end.value.code == 0
        return capsys.readouterr().out

    overview, everything = shown("--help"), shown("--help", "all")
    groups = {flag_of(field).group for field in fields_by_name(command).values()}
    for field in fields_by_name(command).values():
        shown_as = field.name.upper() if flag_of(field).positional else f"--{spelling_of(field)}"
        assert f"{shown_as} " in overview.replace("\n", " ") + " "
        assert re.search(rf"^  {shown_as}[ ,]", everything, flags=re.MULTILINE)
    for group in groups:
        assert f"\n{group} " in overview
        if command is not TrainMRCV2Arguments:  # the Trainer has so many
            assert len(shown("--help", group).splitlines()) <= 60
    if command is not TrainMRCV2Arguments:
        assert len(overview.splitlines()) <= 50


def test_values_are_recorded_as_plain_json() -> None:
    for command in COMMANDS.values():
        record = record_of(parse_arguments(command, NEEDS.get(command, "").split()))
        assert json.loads(json.dumps(record)) == record


# ----------------------------------------------------------------------------------------------------- what is refused

# For every reason why a flag is ignored, a command line on which it holds, and one on which the flag is right.
_CASES = {
    "nothing is scored without --gold": ("{flag} {value}", "{flag} {value} --gold b"),
    "it compares: give --predictions several files": ("{flag} 1", "{flag} 1 --predictions a b"),
    "nothing is uploaded: add --push_to_hub": ("{flag} 1", "{flag} 1 --push_to_hub"),
    "--method grid tries every combination": ("{flag} 1", "{flag} 1 --method random"),
    "--max_steps replaces it": ("{flag} 2 --max_steps 5", "{flag} 2"),
    "the warm-up is given in steps": ("--warmup_ratio 0.1 {steps} 5", "--warmup_ratio 0.1"),
    "only --lr_scheduler_type cosine_with_restarts restarts": (
        "--warmup_cycles 2 --lr_scheduler_type cosine",
        "--warmup_cycles 2 --lr_scheduler_type cosine_with_restarts",
    ),
    "--lr_scheduler_kwargs is given": (
        '--warmup_cycles 2 --lr_scheduler_type cosine_with_restarts --lr_scheduler_kwargs {{"num_cycles":2}}',
        "--warmup_cycles 2 --lr_scheduler_type cosine_with_restarts",
    ),
    "constant has no warm-up: constant_with_warmup has": (
        "{flag} 1 --lr_scheduler_type constant",
        "{flag} 1 --lr_scheduler_type constant_with_warmup",
    ),
    "--eval_strategy epoch evaluates once an epoch": ("--eval_steps 5 --eval_strategy epoch", "{flag} 5 --do_eval"),
    "checkpoints are chosen by evaluation: add --do_eval": (
        "--save_total_limit 1 {best}",
        "--save_total_limit 1 --do_eval",
    ),
    "nothing is evaluated: add --do_eval": ("{flag} {value}", "{flag} {value} --do_eval"),
    "nothing is evaluated while training: see --do_eval": ("{flag} {value}", "{flag} {value} --do_eval"),
    "nothing is re-ordered without an evaluation: add --do_eval": ("{flag} 3", "{flag} 3 --do_eval"),
    "only --freeze_pretrained_weight first or last counts epochs": (
        "--freeze_pretrained_weight_epoch 2 --freeze_pretrained_weight all",
        "--freeze_pretrained_weight_epoch 2 --freeze_pretrained_weight last",
    ),
    "--freeze_pretrained_weight all leaves no layer to train": (
        "--layerwise_lr_decay 0.9 --freeze_pretrained_weight all",
        "--layerwise_lr_decay 0.9 --freeze_pretrained_weight first",
    ),
    "add --freeze_type": ("--freeze_epoch 2", "--freeze_epoch 2 --freeze_type roberta"),
    "add --version_2_with_negative": (
        "--null_score_diff_threshold 1 --version_2_with_negative false",
        "--null_score_diff_threshold 1 --version_2_with_negative",
    ),
    "this --report_to does not report to wandb": ("{flag} odqa --report_to none", "{flag} odqa"),
    "--resume_from_checkpoint continues the run": (
        "--overwrite_output_dir --resume_from_checkpoint true",
        "--overwrite_output_dir --resume_from_checkpoint false",
    ),
    "--save_strategy no keeps no checkpoints": ("{flag} 1 --save_strategy no", "{flag} 1"),
    "only --save_strategy steps counts them": ("--save_steps 5 --save_strategy epoch", "--save_steps 5"),
    "only --logging_strategy steps counts them": ("--logging_steps 5 --logging_strategy epoch", "--logging_steps 5"),
    "--bf16 or --fp16 is given": ("--precision fp32 --fp16", "--precision fp32"),
    "--bf16 is given": ("--bf16 --fp16", "--fp16"),
    "batches hold features of similar length; --train_sampling_strategy sequential keeps the order of the data": (
        "--group_by_length false",
        "--group_by_length",
    ),
    "weights are saved as safetensors": ("--save_safetensors false", "--save_safetensors"),
    "only --retriever_type get_retrieved_df reads a table": (
        "--retrieved_df_path a.csv",
        "--retrieved_df_path a.csv --retriever_type get_retrieved_df",
    ),
    "nothing is indexed with this --retriever_type": (
        "{flag} {value} --retriever_type none",
        "{flag} {value} --analyzer wordpiece",
    ),
    "only --analyzer wordpiece has a model": (
        "--analyzer_model a --analyzer kiwi",
        "--analyzer_model a --analyzer wordpiece",
    ),
    "only --analyzer kiwi, mecab, kiwi_characters know parts of speech": (
        "--analyzer_tags NNG NNP --analyzer bigram",
        "--analyzer_tags NNG NNP --analyzer mecab",
    ),
    "--retriever_type none reads one context a question": (
        "--top_k_retrieval 3 --retriever_type none",
        "--top_k_retrieval 3",
    ),
    "--retriever_type none has no retriever score": (
        "--retrieval_weight 0.5 --retriever_type none",
        "--retrieval_weight 0.5",
    ),
    "settings are chosen by gold answers: add --do_eval": ("--tune", "--tune --do_eval --do_predict false"),
    "there is one passage a question": ("--passage_reading joined --retriever_type none", "--passage_reading joined"),
    **{
        reason: (
            f"{{flag}} {{value}} --retriever_type MilvusRetrieval --milvus_vectors {vectors}",
            f"{{flag}} {{value}} {{with}} --retriever_type MilvusRetrieval --milvus_vectors {right}",
        )
        for reason, vectors, right in (
            ("--milvus_vectors sparse encodes nothing", "sparse", "dense"),
            ("--milvus_vectors dense counts no terms", "dense", "hybrid"),
            ("only --milvus_vectors sparse gives scores of BM25+", "hybrid", "sparse"),
            ("only --milvus_vectors hybrid fuses", "dense", "hybrid"),
        )
    },
    "nothing is cut: add --model or --tokenizer": ("{flag} 300", "{flag} 300 --model a"),
    "--json gives all --n_best_size of them": ("--show 3 --json", "--show 3"),
    "add --chunk sentences, words or tokens": ("{flag} 1", "{flag} 1 --chunk words {size} 4"),
    "only --chunk tokens counts tokens": (
        "{flag} a --chunk words {size} 3",
        "{flag} a --chunk tokens {size} 3 --analyzer wordpiece",
    ),
    "nothing is read without --model": ("--metric klue", "--metric klue --model a"),
    "add --gold": ("--column question=q", "--column question=q --gold a"),
    "add --reranker": ("--rerank_depth 3", "--rerank_depth 3 --reranker a"),
    "nothing is encoded: name a retriever with encoders, or add --reranker or --model": (
        "{flag} {value}",
        "{flag} {value} --model a",
    ),
    "nothing is encoded: name a retriever with encoders, or add --reranker": (
        "{flag} {value}",
        "{flag} {value} --retriever_type SparseRetrieval_BM25P MilvusRetrieval",
    ),
    "add --retriever_type HybridRetrieval": (
        "--tune_fusion",
        "--tune_fusion --retriever_type DenseRetrieval HybridRetrieval",
    ),
    "the test questions have no gold answers to tune on": (
        "--tune_fusion --retriever_type HybridRetrieval --split test",
        "--tune_fusion --retriever_type HybridRetrieval --split train",
    ),
    "--hard_negatives 0 mines nothing": (
        "{flag} {value} --hard_negatives 0",
        "{flag} {value} {with} --hard_negatives 1",
    ),
    "--mine_from dense counts no terms": (
        "{flag} {value} --mine_from dense",
        "{flag} {value} {with} --mine_from bm25",
    ),
    "the passages of --distil_from are taken": ("{flag} {value} --distil_from a.jsonl", "{flag} {value} {with}"),
    "--hard_negatives 0 leaves nothing to order": (
        "--distil_from a.jsonl --hard_negatives 0",
        "--distil_from a.jsonl --hard_negatives 1",
    ),
    "add --interaction multi": ("--token_width 64", "--token_width 64 --interaction multi"),
    "--interaction multi trains one encoder that gives normalised vectors of all tokens of 'title: text'": (
        "{flag} {value} --interaction multi",
        "{flag} {value} --interaction single",
    ),
    "add --candidates": (
        "--candidate_depth 3 --retriever_type MultiVectorRetrieval",
        "--candidate_depth 3 --retriever_type MultiVectorRetrieval --candidates DenseRetrieval",
    ),
    "--concat_eval leaves nothing to evaluate on: add --test_eval_dataset_path": (
        "{flag} 1 --concat_eval true",
        "{flag} 1 --concat_eval true --test_eval_dataset_path a",
    ),
    "only --augment random_flip, mask_word, mask_entity, mask_context read it": (
        "{flag} 0.3 --augment multiple_answers,title_prefix",
        "{flag} 0.3 --augment title_prefix,mask_word",
    ),
    "only --augment negative_passage reads it": (
        "{flag} {value} --augment mask_word",
        "{flag} {value} --augment mask_word,negative_passage --negative_passages_path a.csv",
    ),
    "only --head cnn_sds reads it": ("{flag} 1 --head lstm", "{flag} 1 --head Bert_CNN_Answering"),
    "add --negatives_judge": ("{flag} 2", "{flag} 2 --negatives_judge a"),
    "those of --teacher_scores are learnt": ("{flag} a --teacher_scores a.jsonl", "{flag} a"),
}
_VALUES = {
    "chunk_size": "3 --chunk words",
    "chunk_overlap": "3 --chunk words --chunk_size 4",
    "chunk_tokenizer": "a --chunk tokens --chunk_size 4",
    "chunk": "words --chunk_size 3",
    "column": "question=q",
    "corpus_column": "text=a",
    "mine_from": "dense",
    "hybrid_retrievers": "SparseRetrieval_BM25P DenseRetrieval",
    "fusion": "rrf",
    "analyzer": "wordpiece",
    "backend": "openvino",
    "analyzer_tags": "NNG",
    "pooling": "mean",
    "padding_side": "left",
    "normalize": "true",
    "title_prefix": "false",
    "question_max_len": "32",
    "passage_max_len": "128",
    "milvus_uri": "a.db",
    "vectors_dtype": "float16",
    "token_vectors": "int8",
    "candidate_depth": "3 --candidates DenseRetrieval",
    "shared_encoder": "true",
    "elastic_url": "http://a:9200",
    "elastic_index": "a",
    "elastic_user_dictionary": "a.txt",
    "milvus_vectors": "dense",
    "bm25_backend": "rank_bm25",
    "bm25_b": "0.5",
    "tfidf_features": "char",
    "metric_for_best_model": "f1",
    "metric": "klue",
    "greater_is_better": "true",
    "eval_on_start": "true",
    "negative_passages_path": "a.csv",
    "rerank_depth": "3 --reranker a",
    "negatives_margin": "2 --negatives_judge a",
    "candidates": "SparseRetrieval_BM25P",
}
_WITH = {"analyzer_model": "--analyzer wordpiece", "bm25_delta": "--milvus_vectors sparse"}
_RULES = [
    pytest.param(command, field, reason, id=f"{file} --{spelling_of(field)}: {reason}")
    for file, command in COMMANDS.items()
    for field in fields_by_name(command).values()
    for condition in flag_of(field).read_if
    for reason in condition.reasons()
]


def _case(field: dataclasses.Field, command: type, reason: str) -> tuple[str, str]:
    if match := re.fullmatch(r"only --retriever_type (.*) reads? it", reason):
        names = match[1].split(", ")
        other = next(name for name in RETRIEVERS if name not in names)
        return (
            f"{{flag}} {{value}} --retriever_type {other}",
            f"{{flag}} {{value}} --retriever_type {names[0]}"
            + (" --analyzer wordpiece" if field.name == "analyzer_model" else ""),
        )
    return _CASES[reason]


@pytest.mark.parametrize(("command", "field", "reason"), _RULES)
def test_a_flag_without_effect_is_refused_with_the_reason(
    command: type, field: dataclasses.Field, reason: str, refusal: Any
) -> None:
    refused, right = _case(field, command, reason)
    values = {
        "flag": f"--{spelling_of(field)}",
        "value": _VALUES.get(field.name, "1"),
        "with": "" if "MilvusRetrieval" in right and field.name == "bm25_delta" else _WITH.get(field.name, ""),
        "size": "--corpus_chunk_size" if command is TrainDPRArguments else "--chunk_size",
        "steps": "--dpr_warmup_steps" if command is TrainDPRArguments else "--warmup_steps",
        "best": "--save_strategy best" if command is TrainMRCV2Arguments else "",
    }
    if command is TrainMRCV2Arguments and reason == "--save_strategy no keeps no checkpoints":
        right += " --do_eval"
    if command is TrainDPRArguments and field.name == "bm25_delta":
        values["with"] = ""
    assert f"--{spelling_of(field)} would be ignored: {reason}" in refusal(refused.format(**values), command)
    parse(right.format(**values), command)


@pytest.mark.parametrize(
    ("command", "words", "complaint"),
    [
        (
            RetrieveArguments,
            "--chunk tokens",
            "--chunk tokens needs --chunk_size, how many of them make a passage: 256",
        ),
        (
            TrainDPRArguments,
            "--chunk words --chunk_size 9",
            "--chunk words needs --corpus_chunk_size, how many of them",
        ),
        (
            RetrieveArguments,
            "--chunk words --chunk_size 3 --chunk_overlap 3",
            "--chunk_overlap 3 must be below --chunk_size 3",
        ),
        (
            RetrieveArguments,
            "--column q=question",
            "--column ['q=question'] must be OURS=THEIRS, with one of id, title,",
        ),
        (RetrieveArguments, "--column question", "--column ['question'] must be OURS=THEIRS"),
        (
            RetrieveArguments,
            "--corpus_column context=a",
            "--corpus_column ['context=a'] must be OURS=THEIRS, with one of id",
        ),
    ],
)
def test_what_is_wrong_with_the_flags_of_tables_and_chunks(
    command: type, words: str, complaint: str, refusal: Any
) -> None:
    (found,) = refusal(words, command)
    assert found.startswith(complaint)


def test_every_time_that_a_repeatable_flag_is_given_adds_to_it(config: Any) -> None:
    given = [*config("column: [question=a, id=b]"), "--column", "question=q", "--column", "title=t", "context=c"]
    values = parse(given, RetrieveArguments)["column"]
    assert column_names(values) == {"question": "q", "id": "b", "title": "t", "context": "c"}
    assert parse("--chunk_size 8", TrainDPRArguments)["gradient_chunk_size"] == 8


def test_reasons_are_about_flags_that_a_command_has_not() -> None:
    for command in COMMANDS.values():
        known = set(map(spelling_of, fields_by_name(command).values()))
        assert not known & set(getattr(command, "not_flags", {}))
        for group in getattr(command, "not_read", {}):
            assert set(map(spelling_of, fields_by_name(group).values())) - known, (command, group)


def test_what_is_mined_with_an_encoder_is_kept_too() -> None:
    words = "--mine_from dense --index_dir a --mining_depth 7 --title_prefix false"
    assert parse(words, TrainDPRArguments)["index_dir"] == "a"


def test_every_case_is_about_a_reason() -> None:
    assert _CASES.keys() <= {param.values[2] for param in _RULES}


@pytest.mark.parametrize(
    "words",
    [
        "--rerank_depth 5 --retriever_type SparseRetrieval_BM25P,reranker=X",
        "--rerank_depth 5 --retriever_type HybridRetrieval "
        "--hybrid_retrievers SparseRetrieval_BM25P,reranker=X DenseRetrieval",
        "--tfidf_features char --retriever_type HybridRetrieval,hybrid_retrievers=SparseRetrieval_TFIDF+DenseRetrieval",
        "--tfidf_features char --retriever_type HybridRetrieval "
        "--hybrid_retrievers SparseRetrieval_TFIDF,analyzer=bigram DenseRetrieval",
        "--tfidf_features char --retriever_type HybridRetrieval --hybrid_retrievers DenseRetrieval "
        "HybridRetrieval,hybrid_retrievers=SparseRetrieval_BM25P+SparseRetrieval_TFIDF",
        "--tfidf_features char --retriever_type "
        'HybridRetrieval,hybrid_retrievers="SparseRetrieval_TFIDF,analyzer=mecab"+DenseRetrieval',
        "--analyzer_model M --retriever_type SparseRetrieval_BM25P,analyzer=wordpiece",
        "--analyzer_tags NNG --retriever_type SparseRetrieval_BM25P,analyzer=mecab --analyzer bigram",
        "--retriever_dir D --milvus_vectors sparse --retriever_type MilvusRetrieval,milvus_vectors=dense",
        "--bm25_delta 0.5 --retriever_type MilvusRetrieval,milvus_vectors=sparse",
        "--fusion rrf --retriever_type HybridRetrieval,fusion_weights=0.5+0.5",
    ],
)
def test_what_one_of_the_retrievers_reads_is_no_flag_without_effect(words: str) -> None:
    parse(words, InferenceArguments)
    alone = words.replace("--retriever_type ", "--retriever_type SparseRetrieval_BM25P,analyzer=bigram ")
    parse(alone, RetrieveArguments)


@pytest.mark.parametrize(
    ("words", "lacks"),
    [
        ("--retriever_type get_retrieved_df", "needs --retrieved_df_path, the table to read"),
        ("--retriever_type SparseEncoderRetrieval", "needs an encoder that weighs terms: add --sparse_encoder"),
        (
            "--retriever_type HybridRetrieval --hybrid_retrievers DenseRetrieval SparseEncoderRetrieval",
            "needs an encoder that weighs terms: add --sparse_encoder",
        ),
    ],
)
def test_what_a_retriever_cannot_do_without_is_said_before_anything_is_loaded(
    words: str, lacks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(words, InferenceArguments)
    assert lacks in capsys.readouterr().err
    parse("--retriever_type SparseEncoderRetrieval,sparse_encoder=M", InferenceArguments)


@pytest.mark.parametrize(
    ("words", "flag", "reasons"),
    [
        (
            "--analyzer_model M --retriever_type SparseRetrieval_BM25P,analyzer=bigram SparseRetrieval_TFIDF",
            "analyzer_model",
            ["only --analyzer wordpiece has a model"],
        ),
        (
            "--retriever_dir D --retriever_type MilvusRetrieval,milvus_vectors=sparse SparseRetrieval_BM25P",
            "retriever_dir",
            [
                "--milvus_vectors sparse encodes nothing",
                "only --retriever_type DenseRetrieval, MultiVectorRetrieval, MilvusRetrieval read it",
            ],
        ),
        (
            "--rerank_depth 5 --retriever_type SparseRetrieval_BM25P,bm25_b=0.4 DenseRetrieval",
            "rerank_depth",
            ["add --reranker"],
        ),
        (
            "--vectors_dtype float16 "
            "--retriever_type HybridRetrieval,hybrid_retrievers=HybridRetrieval+SparseRetrieval_BM25P",
            "vectors_dtype",
            ["only --retriever_type DenseRetrieval reads it"],
        ),
    ],
)
def test_what_none_of_the_retrievers_reads_is_refused(words: str, flag: str, reasons: list[str], refusal: Any) -> None:
    assert refusal(words, RetrieveArguments) == [f"--{flag} would be ignored: {reason}" for reason in reasons]


_NUMBERS = [
    param
    for param in FLAGS
    if re.search(r"\b(int|float)\b", str(typing.get_type_hints(param.values[0])[param.values[1].name]))
    and param.values[1].name not in OF_THE_TRAINER
]


def _complaints_about(name: str, complaints: list[str]) -> list[str]:
    return [line for line in complaints if line.startswith(f"--{name} ") and "would be ignored" not in line]


@pytest.mark.parametrize(("command", "field"), _NUMBERS)
def test_every_number_keeps_its_range(command: type, field: dataclasses.Field, refusal: Any) -> None:
    described, name = flag_of(field), spelling_of(field)
    whole = "float" not in str(typing.get_type_hints(command)[field.name])
    step = 1 if whole else 1e-3
    strict = described.above > -float("inf")
    low = described.above if strict else described.at_least
    if low > -float("inf"):
        low = int(low) if whole else low
        wrong = low if strict else low - step
        (complaint,) = _complaints_about(name, refusal(f"--{name} {wrong}", command))
        kind = "above" if strict else "at least"
        assert complaint.startswith(f"--{name} {wrong:.10g} must be {kind} {low:.10g}")
    if described.at_most < float("inf"):
        high = int(described.at_most) if whole else described.at_most
        (complaint,) = _complaints_about(name, refusal(f"--{name} {high + step}", command))
        assert complaint.endswith(f"and at most {high:.10g}")
    if not whole:
        for value in ("nan", "inf", "-inf", "1e400", "1e39"):
            (complaint,) = _complaints_about(name, refusal(f"--{name}={value}", command))
            assert complaint == f"--{name} {float(value):.10g} must be a finite number of 32 bits"
    else:
        complaint, *_ = _complaints_about(name, refusal(f"--{name} 1000000000000000000", command))
        high = f"{min(described.at_most, 2**32 - 1):.10g}"  # where nothing is said, of 31 bits
        assert re.fullmatch(rf"--{name} 1e\+18 must be (at least \d+ and )?at most (2147483647|{high})", complaint)


def test_numbers_of_a_retriever_in_one_word_are_checked_too() -> None:
    with pytest.raises(UserError, match=r"bm25_delta=inf: --bm25_delta inf must be a finite number of 32 bits"):
        arguments_of("SparseRetrieval_BM25P,bm25_delta=inf", RetrieverArguments(), RetrieverArguments)


def test_shares_are_at_most_one() -> None:
    shares = "head_dropout_ratio backbone_dropout label_smoothing_factor warmup_ratio bm25_b layerwise_lr_decay "
    shares += "dpr_dropout reranker_dropout"
    fields = [field for command in COMMANDS.values() for field in fields_by_name(command).values()]
    assert {field.name for field in fields if flag_of(field).at_most == 1} == set(shares.split())


@pytest.mark.parametrize(
    ("words", "complaints"),
    [
        ("--modle a", ["--modle is not a flag of train_mrc.py; did you mean --model?"]),
        ("--evaluation_strateg epoch", ["--evaluation_strateg is not a flag of train_mrc.py; did you mean "
                                        "--evaluation_strategy?"]),
        ("--stride-length 3", ["--stride-length is not a flag of train_mrc.py; did you mean --stride_len?"]),
        ("--do_predict", ["--do_predict has no effect in train_mrc.py; it is a flag of inference.py"]),
        ("--retriever_type A", ["--retriever_type has no effect in train_mrc.py; it is a flag of train_reranker.py, "
                                "inference.py, ask.py, tools.demo, retrieve.py and tools.robustness"]),
        ("--fp16", ["--fp16 is not a flag of train_mrc.py: use --precision fp16"]),
        ("--bf16 True", ["--bf16 is not a flag of train_mrc.py: use --precision bf16"]),
        ("--save_steps 5", ["--save_steps is not a flag of train_mrc.py: state is saved at every evaluation: use "
                            "--eval_steps"]),
        ("--do_train", ["--do_train is not a flag of train_mrc.py: this command always trains"]),
        ("--optim sgd", ["--optim has no effect in train_mrc.py; it is a flag of train_mrc_v2.py"]),
        ("--run_name ../x", ["--run_name '../x' must name one folder inside another: no slash, no dot or blank at its "
                             "beginning"]),
        ("--run_name=", ["--run_name '' must name one folder inside another: no slash, no dot or blank at its "
                         "beginning"]),
        ("--head cmm", [f"--head 'cmm' is none; choose from: {', '.join(HEADS)}"]),
        ("--run_name best", ["--run_name 'best' is what a run names its own files"]),
        ("--lr_scheduler_type polynomial --learning_rate 1e-7", ["--lr_scheduler_type polynomial ends at a rate of "
                                                                "1e-07: give a higher --learning_rate"]),
        ("--max_seq_len 64 --stride_len 64", ["--stride_len 64 must be below --max_seq_len 64"]),
        ("--augment negative_passage", ["--augment negative_passage needs --negative_passages_path: the table of "
                                        "passages that python retrieve.py --split train --write csv writes"]),
        (
            "--modle a --fp16 --max_steps 5 --num_train_epochs 2 --logging_steps 0 --max_seq_len 16 --stride_len 128",
            [
                "--modle is not a flag of train_mrc.py; did you mean --model?",
                "--fp16 is not a flag of train_mrc.py: use --precision fp16",
                "--num_train_epochs would be ignored: --max_steps replaces it",
                "--logging_steps 0 must be above 0",
                "--stride_len 128 must be below --max_seq_len 16",
            ],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_flags_of_a_reader_is_said(words: str, complaints: list[str], refusal: Any) -> None:
    assert refusal(words) == complaints


@pytest.mark.parametrize(
    ("command", "words", "complaint"),
    [
        (TrainDPRArguments, "--output_dir a", "--output_dir is not a flag of train_dpr.py: use --retriever_dir"),
        (TrainDPRArguments, "--num_train_epochs 1", "--num_train_epochs is not a flag of train_dpr.py: "
                                                   "use --dpr_epochs"),
        (TrainDPRArguments, "--per_device_train_batch_size 1", "--per_device_train_batch_size is not a flag of "
                                                               "train_dpr.py: use --dpr_train_batch"),
        (TrainDPRArguments, "--encode_batch_size 1", "--encode_batch_size is not a flag of train_dpr.py: use "
                                                     "--dpr_eval_batch"),
        (TrainRerankerArguments, "--max_seq_len 1", "--max_seq_len is not a flag of train_reranker.py: use "
                                                    "--reranker_max_len"),
        (TrainRerankerArguments, "--hard_negatives 0", "--hard_negatives 0 leaves no passage to tell the right one "
                                                       "from: give 1 or more"),
        (TrainMRCV2Arguments, "--freeze_pretrained_weight all", "--freeze_pretrained_weight is not a flag of "
                                                                "train_mrc_v2.py: use --freeze_type"),
        (TrainMRCV2Arguments, "--fsdp full_shard", "--fsdp is not a flag of train_mrc_v2.py: evaluation needs the "
                                                   "whole reader in every process"),
        (TrainMRCV2Arguments, "--do_train false", "add --do_train: this command trains a reader, inference.py "
                                                  "evaluates one and answers with it"),
        (InferenceArguments, "--do_eval", "say what to answer: --do_predict for the test questions, or --do_eval for "
                                          "the validation ones"),
        (InferenceArguments, "--head lstm", "--head has no effect in inference.py: it is kept with the checkpoint"),
        (InferenceArguments, "--learning_rate 1", "--learning_rate has no effect in inference.py; it is a flag of "
                                                  "train_mrc.py, train_mrc_v2.py and train_reranker.py"),
        (TrainDPRArguments, "--do_eval", "--do_eval has no effect in train_dpr.py: every --dpr_eval_steps it "
                                         "evaluates, wherever the data has validation questions"),
        (TrainDPRArguments, "--retriever_type A", "--retriever_type has no effect in train_dpr.py: negatives are mined "
                                                  "as --mine_from says, and nothing else is searched"),
        (RetrieveArguments, "--precision fp32", "--precision has no effect in retrieve.py: encoders run in the best "
                                                "precision of the device"),
        (TrainRerankerArguments, "--reranker a", "--reranker has no effect in train_reranker.py: a reranker is what "
                                                 "this command trains: --reranker_model names its start"),
    ],
)  # fmt: skip
def test_what_belongs_elsewhere_is_shown_the_way(command: type, words: str, complaint: str, refusal: Any) -> None:
    assert refusal(words, command) == [complaint]


def test_a_value_that_is_no_choice_names_the_choices(refusal: Any) -> None:
    (complaint,) = refusal("--freeze_pretrained_weight some")
    assert complaint.startswith("argument --freeze_pretrained_weight: invalid choice: 'some' (choose from ")
    assert all(choice in complaint for choice in ("none", "all", "first", "last"))


def test_choices_are_those_of_the_code_that_reads_them() -> None:
    from reading.metrics import METRICS
    from retrieval.analyzers import ANALYZERS
    from retrieval.bm25 import ENGINES
    from retrieval.hybrid import POINTS
    from retrieval.tfidf import FEATURES

    fields = {name: field for command in COMMANDS.values() for name, field in fields_by_name(command).items()}
    for name, known in {
        "analyzer": ANALYZERS, "bm25_backend": ENGINES, "fusion": POINTS, "tfidf_features": FEATURES, "metric": METRICS,
    }.items():  # fmt: skip
        assert flag_of(fields[name]).choices == tuple(known), name
    for name, known in {"augment": AUGMENTATIONS, "retriever_type": RETRIEVERS}.items():
        assert all(choice in flag_of(fields[name]).help for choice in known) or name == "retriever_type"
    conditions = [test for field in fields.values() for test in flag_of(field).read_if]
    assert {test.chosen_by for test in conditions if isinstance(test, ReadByChosen)} == {
        "augment", "head", "retriever_type"
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- config


YAML = """\
model: klue/roberta-large
learning_rate: 3e-5  # YAML takes this for text
max_steps: 20
do_eval: true
concat_eval: false
version_2_with_negative: yes
null_score_diff_threshold: -2.5
description: "-한국어"
run_name: 2021-11-07
wandb_entity:
"""
EXPECTED = {
    "model": "klue/roberta-large",
    "learning_rate": 3e-5,
    "max_steps": 20,
    "do_eval": True,
    "concat_eval": False,
    "version_2_with_negative": True,
    "null_score_diff_threshold": -2.5,
    "description": "-한국어",
    "run_name": "2021-11-07",
    "wandb_entity": None,
}


def test_a_yaml_file_and_a_json_file_give_values(config: Any) -> None:
    assert parse(config(YAML)) == parse("") | EXPECTED
    assert parse(config(json.dumps(EXPECTED), "run.json")) == parse("") | EXPECTED


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (TrainMRCArguments, "--max_steps 5 --lr_scheduler_type cosine --head lstm --model a --augment title_prefix "
                            "--freeze_pretrained_weight all"),
        (TrainMRCArguments, "--augment negative_passage,mask_word --negative_passages_path a.csv b.csv"),
        (TrainMRCV2Arguments, "--do_eval --save_strategy epoch --optim adamw_torch --warmup_steps 0.1 --no_cuda"),
        (TrainMRCV2Arguments, '--lr_scheduler_kwargs {"a":1} --eval_strategy epoch'),
        (TrainDPRArguments, "--retriever_dir a --dpr_epochs 1 --dpr_learning_rate 1e-3 --mine_from dense"),
        (TrainRerankerArguments, "--retriever_type HybridRetrieval --fusion rrf "
            "--hybrid_retrievers SparseRetrieval_BM25P DenseRetrieval --do_eval"),
        (InferenceArguments, "--retriever_type DenseRetrieval --pooling mean --normalize false --max_seq_len 384"),
        (RetrieveArguments, "--retriever_type DenseRetrieval SparseRetrieval_BM25P,analyzer=mecab --write csv trec"),
        (ScoreArguments, "--metric klue"),
    ],
)  # fmt: skip
def test_the_record_of_a_run_is_a_file_that_repeats_it(command: type, words: str, config: Any) -> None:
    args = parse_arguments(command, [*NEEDS.get(command, "").split(), *words.split()])
    file = config(json.dumps(record_of(args)), "arguments.json")
    assert parse_arguments(command, file) == args


def test_a_retriever_may_be_a_nested_mapping(config: Any) -> None:
    text = """\
retriever_type:
- SparseRetrieval_BM25P: {analyzer: bigram, bm25_b: 0.4}
- HybridRetrieval:
    hybrid_retrievers:
    - SparseRetrieval_BM25P: {analyzer: mecab}
    - DenseRetrieval: {question_prefix: "query, Korean: "}
    fusion_weights: [0.4, 0.6]
"""
    args = parse_arguments(RetrieveArguments, config(text))
    first, second = (arguments_of(spec, args, RetrieverArguments) for spec in args.retriever_type)
    assert (first.retriever_type, first.analyzer, first.bm25_b) == ("SparseRetrieval_BM25P", "bigram", 0.4)
    assert second.fusion_weights == [0.4, 0.6]
    mecab, dense = (arguments_of(spec, second, RetrieverArguments) for spec in second.hybrid_retrievers)
    assert (mecab.analyzer, dense.question_prefix) == ("mecab", "query, Korean: ")


# ------------------------------------------------------------------------------------------------------------- secrets

_SECRET = "s3cr3t"
_WITH_CREDENTIALS = [
    f"https://me:{_SECRET}@host:9200",
    f"https://{_SECRET}@host",
    f"http://me:{_SECRET}/slash@host:9200",
    f"https://host:9200/?api_key={_SECRET}",
]


def _refusal_of(words: list[str], command: type, refusal: Any) -> str:
    text = "\n".join(refusal(words, command))
    assert "must not hold credentials" in text and _SECRET not in text
    return text


@pytest.mark.parametrize("url", [*_WITH_CREDENTIALS, f"me:{_SECRET}@host:9200"])
@pytest.mark.parametrize("flag", ["elastic_url", "milvus_uri"])
def test_credentials_in_the_address_of_a_server_are_refused_unrepeated(
    flag: str, url: str, refusal: Any, config: Any
) -> None:
    for words in (["--" + flag, url], [f"--{flag}={url}"], config(f"{flag}: '{url}'")):
        assert "in the environment" in _refusal_of(words, RetrieveArguments, refusal)


@pytest.mark.parametrize(
    "flag", ["model", "dataset_path", "retriever_type", "output_dir", "reranker", "hybrid_retrievers"]
)
def test_credentials_in_any_url_are_refused_unrepeated(flag: str, refusal: Any, config: Any) -> None:
    url = _WITH_CREDENTIALS[0]
    value = f"ElasticRetrieval,elastic_url={url}" if flag in ("retriever_type", "hybrid_retrievers") else url
    for words in (["--" + flag, value], config(f"{flag}: '{value}'")):
        assert f"--{flag} must not hold" in _refusal_of(words, InferenceArguments, refusal)
    parse(["--description", "see https://host/@me and me@host"])


def test_only_the_token_of_the_hub_is_a_secret() -> None:
    names = {name for command in COMMANDS.values() for name in fields_by_name(command)}
    assert {name for name in names if is_secret(name)} == {"hub_token"}
