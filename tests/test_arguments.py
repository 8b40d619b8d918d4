"""Flags: documented, read, owned once, and refused where they would have no effect."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import arguments
from arguments import (
    _BOUNDS,
    _IGNORED,
    _READ_BY,
    GROUPS,
    AugmentationArguments,
    ComparisonArguments,
    DatasetArguments,
    DPRArguments,
    FreezeArguments,
    InferenceArguments,
    MiningArguments,
    ModelArguments,
    OptimizationArguments,
    RerankerArguments,
    RetrieveArguments,
    RetrieverArguments,
    RunArguments,
    ScoreArguments,
    build_parser,
    parse_arguments,
    resolved_arguments,
)
from retrieval.spec import arguments_of
from runtime.errors import UserError
from runtime.masking import is_secret
from training.trainer_arguments import TrainerArguments

ROOT = Path(arguments.__file__).parent
DATA = [ModelArguments, DatasetArguments, AugmentationArguments, RetrieverArguments]
TRAINING = [RunArguments, *DATA, OptimizationArguments]
TRAINER = [TrainerArguments, *DATA, FreezeArguments]
RETRIEVE = [RunArguments, DatasetArguments, RetrieveArguments, ComparisonArguments]
DPR = [RunArguments, DatasetArguments, RetrieverArguments, MiningArguments, DPRArguments, OptimizationArguments]
RERANKER = [RunArguments, DatasetArguments, RetrieverArguments, RerankerArguments, OptimizationArguments]
INFERENCE = [RunArguments, ModelArguments, DatasetArguments, RetrieverArguments, InferenceArguments]
FIELDS = [(group, field) for group in GROUPS for field in dataclasses.fields(group)]
REQUIRED = {ScoreArguments: "--gold a --predictions b"}


def _flags(groups: list[type]) -> set[str]:
    return {field.name for group in groups for field in dataclasses.fields(group)}


def parse(words: str | list[str], groups: list[type] = TRAINING, **options: Any) -> dict[str, Any]:
    """Return the values of all flags of ``command.py WORDS``."""
    words = words.split() if isinstance(words, str) else words
    return resolved_arguments(*parse_arguments("command.py", groups, words, **options))


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]):
    """Return the complaints about a command line that is refused."""

    def refuse(words: str | list[str], groups: list[type] = TRAINING, **options: Any) -> list[str]:
        with pytest.raises(SystemExit) as end:
            parse(words, groups, **options)
        assert end.value.code == 2
        shown = capsys.readouterr()
        *complaints, hint = shown.err.splitlines()
        assert (shown.out, hint) == ("", "see python command.py --help")
        assert all(complaint.startswith("command.py: error: ") for complaint in complaints)
        return [complaint.removeprefix("command.py: error: ") for complaint in complaints]

    return refuse


# ------------------------------------------------------------------------------------------------------ the dataclasses


@pytest.mark.parametrize(("group", "field"), FIELDS, ids=lambda value: getattr(value, "name", ""))
def test_every_flag_has_one_line_of_help(group: type, field: dataclasses.Field) -> None:
    text = field.metadata["help"]
    assert text.endswith((".", ")")) and "\n" not in text and len(text) < 120
    assert group.__doc__ and group._argument_group_name


def test_no_flag_is_owned_twice() -> None:
    """But --do_eval: training and inference each have a meaning for it, and no command reads both groups."""
    owners = Counter(field.name for _, field in FIELDS)
    assert {name for name, count in owners.items() if count > 1} == {"do_eval"}


def _names_read() -> set[str]:
    """Every attribute that some program or library file reads, or a property that is made of flags."""
    folders = [".", "loading", "models", "reading", "retrieval", "runtime", "training"]
    files = [path for folder in folders for path in (ROOT / folder).glob("*.py") if path.name != "arguments.py"]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    groups = ast.walk(ast.parse((ROOT / "arguments.py").read_text(encoding="utf-8")))
    trees += [node for node in groups if isinstance(node, ast.FunctionDef) and _is_property(node)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def _is_property(function: ast.FunctionDef) -> bool:
    return [ast.unparse(decorator) for decorator in function.decorator_list] == ["property"]


def test_every_flag_is_read() -> None:
    unread = {field.name for _, field in FIELDS} - _names_read()
    assert unread == set()


def test_every_rule_and_bound_is_about_a_flag() -> None:
    names = {field.name for _, field in FIELDS} | _flags([TrainerArguments])
    assert set(_BOUNDS) | {rule.flag for rule in _IGNORED} <= names
    numbers = {field.name for _, field in FIELDS if type(field.default) in (int, float)}
    assert numbers - set(_BOUNDS) == {"max_steps", "null_score_diff_threshold"}  # any number is right for these


# -------------------------------------------------------------------------------------------------------------- values


def test_without_flags_every_value_is_its_default() -> None:
    fields = [field for group in TRAINING for field in dataclasses.fields(group)]
    no_list = dataclasses.MISSING
    defaults = {f.name: f.default if f.default is not no_list else f.default_factory() for f in fields}
    assert parse("") == defaults
    run, model = parse_arguments("command.py", [RunArguments, ModelArguments], [])
    assert isinstance(run, RunArguments) and isinstance(model, ModelArguments)


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
        ("--seed 3 --", {"seed": 3}),
        ("-- --seed 3 -- --max_steps 2", {"seed": 3, "max_steps": 2}),
        ("--evaluation_strategy epoch", {"eval_strategy": "epoch"}),
        ("--version_2_with_negative --do_eval --null_score_diff_threshold -1.5", {"null_score_diff_threshold": -1.5}),
        ("--version_2_with_negative --do_eval --null_score_diff_threshold -1e-3", {"null_score_diff_threshold": -1e-3}),
        ("--version_2_with_negative --do_eval --null_score_diff_threshold -.5", {"null_score_diff_threshold": -0.5}),
        ("--save_total_limit 2 --do_eval", {"save_total_limit": 2}),
        ("--num_train_epochs 0.5", {"num_train_epochs": 0.5}),
        ("--resume_from_checkpoint true", {"resume_from_checkpoint": "true"}),
        ("--resume_from_checkpoint False", {"resume_from_checkpoint": None}),
        ("--seed 1 --seed 2", {"seed": 2}),
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


def test_constructors_understand_the_older_names_of_flags() -> None:
    assert DatasetArguments(data_dir="there").dataset_path == "there"
    assert DatasetArguments(data_dir="there", max_seq_len=512) == DatasetArguments("there", 512)
    for group, field in FIELDS:
        for alias in field.metadata.get("aliases", ()):
            assert getattr(group(**{alias.removeprefix("--"): "7"}), field.name) == "7", (group, alias)
    with pytest.raises(TypeError, match="takes only one of data_dir and dataset_path"):
        DatasetArguments(data_dir="a", dataset_path="b")
    with pytest.raises(TypeError, match="unexpected keyword argument 'folder'"):
        DatasetArguments(folder="a")
    assert dataclasses.replace(DatasetArguments(data_dir="a"), stride_len=1).dataset_path == "a"


def test_words_come_from_the_command_line_when_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train_mrc.py", "--seed", "7"])
    assert parse_arguments("train_mrc.py", [RunArguments])[0].seed == 7


def test_a_command_has_defaults_of_its_own() -> None:
    own = {"output_dir": "./elsewhere"}
    assert parse("", defaults=own)["output_dir"] == "./elsewhere"
    assert parse("--output_dir here", defaults=own)["output_dir"] == "here"


def test_help_shows_every_flag_with_its_default_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse("--help --seed", unused={"logging_dir": "of no use"}, description="Train a reader.")
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Train a reader." in text
    for group in TRAINING:
        assert f"{group._argument_group_name}:" in text
        for field in dataclasses.fields(group):
            assert f"--{field.name} " in text or f"--{field.name}," in text or field.name == "logging_dir"
    assert "--logging_dir" not in text and "--max-seq-len" not in text
    assert "--head, --custom_model HEAD" in text
    assert "a trained reader brings its own. (default: 384)" in text and "(default: None)" not in text


def test_values_are_recorded_as_plain_json() -> None:
    values = parse("--do_eval")
    assert json.loads(json.dumps(values)) == values


# ----------------------------------------------------------------------------------------------------- what is refused

# For every rule of arguments._IGNORED a command line on which it holds, and one on which the flag is right.
_CASES = {
    "--max_steps replaces it": ("--{flag} 2 --max_steps 5", "--{flag} 2"),
    "--warmup_steps is given": ("--warmup_ratio 0.1 --warmup_steps 5", "--warmup_ratio 0.1"),
    "only --lr_scheduler_type cosine_with_restarts restarts": (
        "--warmup_cycles 2 --lr_scheduler_type cosine",
        "--warmup_cycles 2 --lr_scheduler_type cosine_with_restarts",
    ),
    "constant has no warm-up: constant_with_warmup has": (
        "--{flag} 1 --lr_scheduler_type constant",
        "--{flag} 1 --lr_scheduler_type constant_with_warmup",
    ),
    "--eval_strategy epoch evaluates once an epoch": ("--eval_steps 5 --eval_strategy epoch", "--eval_steps 5"),
    "checkpoints are chosen by evaluation: add --do_eval": ("--save_total_limit 1", "--save_total_limit 1 --do_eval"),
    "nothing is evaluated: add --do_eval": ("--{flag} 1", "--{flag} 1 --do_eval"),
    "only --freeze_pretrained_weight first or last counts epochs": (
        "--freeze_pretrained_weight_epoch 2 --freeze_pretrained_weight all",
        "--freeze_pretrained_weight_epoch 2 --freeze_pretrained_weight last",
    ),
    "add --version_2_with_negative": (
        "--null_score_diff_threshold 1",
        "--null_score_diff_threshold 1 --version_2_with_negative --do_eval",
    ),
    "this --report_to does not report to wandb": ("--{flag} odqa --report_to none", "--{flag} odqa"),
    "--resume_from_checkpoint continues the run": (
        "--overwrite_output_dir --resume_from_checkpoint true",
        "--overwrite_output_dir --resume_from_checkpoint false",
    ),
    "only --retriever_type get_retrieved_df reads a table": (
        "--retrieved_df_path a.csv",
        "--retrieved_df_path a.csv --retriever_type get_retrieved_df",
    ),
    "nothing is indexed with this --retriever_type": (
        "--{flag} {value} --retriever_type none",
        "--{flag} {value} --analyzer wordpiece",
    ),
    "only SparseRetrieval_BM25P reads it": (
        "--{flag} {value} --retriever_type SparseRetrieval_TFIDF",
        "--{flag} {value} --retriever_type SparseRetrieval_BM25P",
    ),
    "only SparseRetrieval_TFIDF reads it": (
        "--tfidf_features char",
        "--tfidf_features char --retriever_type SparseRetrieval_TFIDF",
    ),
    "only --analyzer kiwi and mecab know parts of speech": (
        "--analyzer_tags NNG NNP --analyzer bigram",
        "--analyzer_tags NNG NNP --analyzer mecab",
    ),
    **{
        f"only {readers} it": (
            "--{flag} {value} --retriever_type get_retrieved_df --retrieved_df_path a.csv",
            "--{flag} {value} {retriever} --retriever_type MilvusRetrieval",
        )
        for readers in (
            "SparseRetrieval_BM25P, SparseRetrieval_TFIDF, MilvusRetrieval read",
            "SparseRetrieval_BM25P, ElasticRetrieval, MilvusRetrieval read",
            "SparseRetrieval_BM25P, MilvusRetrieval read",
            "DenseRetrieval, MilvusRetrieval read",
            "HybridRetrieval, MilvusRetrieval read",
            "MilvusRetrieval reads",
        )
    },
    **{
        reason: (
            f"--{{flag}} {{value}} --retriever_type MilvusRetrieval --milvus_vectors {vectors}",
            f"--{{flag}} {{value}} {{retriever}} --retriever_type MilvusRetrieval --milvus_vectors {right}",
        )
        for reason, vectors, right in (
            ("--milvus_vectors sparse encodes nothing", "sparse", "dense"),
            ("--milvus_vectors dense counts no terms", "dense", "hybrid"),
            ("only --milvus_vectors sparse gives scores of BM25+", "hybrid", "sparse"),
            ("only --milvus_vectors hybrid fuses", "dense", "hybrid"),
        )
    },
    "only --analyzer wordpiece has a model": (
        "--analyzer_model a --analyzer kiwi",
        "--analyzer_model a --analyzer wordpiece",
    ),
    "--retriever_type none reads one context a question": (
        "--top_k_retrieval 3 --retriever_type none",
        "--top_k_retrieval 3",
    ),
    "--retriever_type none has no retriever score": (
        "--retrieval_weight 0.5 --retriever_type none",
        "--retrieval_weight 0.5",
    ),
    "there is one passage a question": ("--passage_reading joined --retriever_type none", "--passage_reading joined"),
    "--augment names none that is drawn: random_flip, mask_word, mask_entity or mask_context": (
        "--augment_probability 0.3 --augment negative_passage,title_prefix",
        "--augment_probability 0.3 --augment title_prefix,mask_word",
    ),
    "add --augment negative_passage": (
        "--{flag} {value} --augment mask_word",
        "--{flag} {value} --augment mask_word,negative_passage {retriever}",
    ),
    "only --head cnn_sds reads it": ("--{flag} 1 --head lstm", "--{flag} 1 --head Bert_CNN_Answering"),
    "--freeze_pretrained_weight all leaves no layer to train": (
        "--layerwise_lr_decay 0.9 --freeze_pretrained_weight all",
        "--layerwise_lr_decay 0.9 --freeze_pretrained_weight first",
    ),
}
_CASES |= {
    "add --reranker": ("--rerank_depth 3", "--rerank_depth 3 --reranker a"),
    **{
        f"only {name} reads it": ("--{flag} {value}", f"--{{flag}} {{value}} --retriever_type {name}")
        for name in ("HybridRetrieval", "DenseRetrieval", "ElasticRetrieval")
    },
    "add --retriever_type HybridRetrieval": ("--tune_fusion", "--tune_fusion --retriever_type A HybridRetrieval"),
    "the test questions have no gold answers to tune on": (
        "--tune_fusion --retriever_type HybridRetrieval --split test",
        "--tune_fusion --retriever_type HybridRetrieval --split train",
    ),
}
_TRAINER_CASES = {
    "nothing is evaluated while training: see --do_eval": ("--{flag} 1 --eval_strategy no", "--{flag} 1 --do_eval"),
    "--save_strategy no keeps no checkpoints": ("--{flag} 1 --save_strategy no", "--{flag} 1"),
    "only --save_strategy steps counts them": ("--save_steps 5 --save_strategy epoch", "--save_steps 5"),
    "only --logging_strategy steps counts them": ("--logging_steps 5 --logging_strategy epoch", "--logging_steps 5"),
    "--bf16 or --fp16 is given": ("--precision fp32 --fp16", "--precision fp32"),
    "--bf16 is given": ("--bf16 --fp16", "--fp16"),
    "--lr_scheduler_kwargs is given": (
        '--warmup_cycles 2 --lr_scheduler_type cosine_with_restarts --lr_scheduler_kwargs {{"num_cycles":2}}',
        "--warmup_cycles 2 --lr_scheduler_type cosine_with_restarts",
    ),
    "batches hold features of similar length; --train_sampling_strategy sequential keeps the order of the data": (
        "--group_by_length false",
        "--group_by_length",
    ),
    "weights are saved as safetensors": ("--save_safetensors false", "--save_safetensors"),
    "add --freeze_type": ("--freeze_epoch 2", "--freeze_epoch 2 --freeze_type roberta"),
}
_DPR_CASES = {
    "--dpr_warmup_steps is given": ("--warmup_ratio 0.1 --dpr_warmup_steps 5", "--warmup_ratio 0.1"),
    "--hard_negatives 0 mines nothing": (
        "--{flag} {value} --hard_negatives 0",
        "--{flag} {value} {retriever} --hard_negatives 1",
    ),
    "--mine_from dense counts no terms": (
        "--{flag} {value} --mine_from dense",
        "--{flag} {value} {retriever} --mine_from bm25",
    ),
    "--concat_eval leaves nothing to evaluate on: add --test_eval_dataset_path": (
        "--{flag} 1 --do_eval --concat_eval true",
        "--{flag} 1 --do_eval --concat_eval true --test_eval_dataset_path a",
    ),
}
_RERANKER_CASES = {
    "nothing is re-ordered without an evaluation: add --do_eval": ("--{flag} 3", "--{flag} 3 --do_eval"),
}
_VALUES = {
    "rerank_depth": "3 --reranker a",
    "mine_from": "dense",
    "retriever_type": "SparseRetrieval_TFIDF",
    "fusion": "rrf",
    "analyzer": "wordpiece",
    "analyzer_tags": "NNG",
    "pooling": "mean",
    "normalize": "true",
    "title_prefix": "false",
    "question_max_len": "32",
    "passage_max_len": "128",
    "milvus_uri": "a.db",
    "vectors_dtype": "float16",
    "elastic_url": "http://a:9200",
    "elastic_index": "a",
    "elastic_user_dictionary": "a.txt",
    "milvus_vectors": "dense",
    "bm25_backend": "rank_bm25",
    "bm25_b": "0.5",
    "tfidf_features": "char",
}
_OF_MILVUS = [*_READ_BY["DenseRetrieval", "MilvusRetrieval"], *_READ_BY["MilvusRetrieval",], "fusion_depth"]
_RETRIEVERS = {
    "retrieved_df_path": "--retriever_type get_retrieved_df",
    "analyzer_model": "--analyzer wordpiece",
    "bm25_delta": "--retriever_type MilvusRetrieval --milvus_vectors sparse",
    **dict.fromkeys(_OF_MILVUS, "--retriever_type MilvusRetrieval"),
    "tfidf_features": "--retriever_type SparseRetrieval_TFIDF",
    **{
        flag: f"--retriever_type {name}"
        for name in ("HybridRetrieval", "DenseRetrieval", "ElasticRetrieval")
        for flag in _READ_BY[name,]
    },
}


@pytest.mark.parametrize("rule", _IGNORED, ids=lambda rule: f"{rule.flag}: {rule.reason}")
def test_a_flag_without_effect_is_refused_with_the_reason(rule: arguments.Ignored, refusal: Any) -> None:
    if rule.flag in _flags([ComparisonArguments]):
        groups = RETRIEVE
    elif rule.reason in _RERANKER_CASES:
        groups = RERANKER
    elif rule.reason in _DPR_CASES or rule.flag in _flags([MiningArguments, DPRArguments]):
        groups = DPR
    elif rule.reason in _TRAINER_CASES or rule.flag not in _flags(TRAINING + INFERENCE):
        groups = TRAINER
    elif rule.flag in _flags(INFERENCE[3:]) and rule.reason != "add --augment negative_passage":
        groups = INFERENCE
    else:
        groups = TRAINING
    values = {
        "flag": rule.flag, "value": _VALUES.get(rule.flag, "1"), "retriever": _RETRIEVERS.get(rule.flag, "")
    }  # fmt: skip
    refused, right = (
        words.format(**values) for words in (_CASES | _TRAINER_CASES | _DPR_CASES | _RERANKER_CASES)[rule.reason]
    )
    assert f"--{rule.flag} would be ignored: {rule.reason}" in refusal(refused, groups)
    parse(right, groups)


@pytest.mark.parametrize(
    "words",
    [
        "--rerank_depth 5 --retriever_type SparseRetrieval_BM25P,reranker=X",
        "--rerank_depth 5 --retriever_type HybridRetrieval --hybrid_retrievers SparseRetrieval_BM25P,reranker=X A",
        "--tfidf_features char --retriever_type HybridRetrieval,hybrid_retrievers=SparseRetrieval_TFIDF+DenseRetrieval",
        "--tfidf_features char --retriever_type HybridRetrieval "
        "--hybrid_retrievers SparseRetrieval_TFIDF,analyzer=bigram DenseRetrieval",
        "--tfidf_features char --retriever_type HybridRetrieval --hybrid_retrievers A "
        "HybridRetrieval,hybrid_retrievers=SparseRetrieval_BM25P+SparseRetrieval_TFIDF",
        "--analyzer_model M --retriever_type SparseRetrieval_BM25P,analyzer=wordpiece",
        "--analyzer_tags NNG --retriever_type SparseRetrieval_BM25P,analyzer=mecab --analyzer bigram",
        "--retriever_dir D --milvus_vectors sparse --retriever_type MilvusRetrieval,milvus_vectors=dense",
        "--bm25_delta 0.5 --retriever_type MilvusRetrieval,milvus_vectors=sparse",
        "--fusion rrf --retriever_type HybridRetrieval,fusion_weights=0.5+0.5",
    ],
)
def test_what_one_of_the_retrievers_reads_is_no_flag_without_effect(words: str) -> None:
    parse(words, INFERENCE)
    alone = words.replace("--retriever_type ", "--retriever_type SparseRetrieval_BM25P,analyzer=bigram ")
    parse(alone, RETRIEVE)


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
            ["only DenseRetrieval, MilvusRetrieval read it", "--milvus_vectors sparse encodes nothing"],
        ),
        (
            "--rerank_depth 5 --retriever_type SparseRetrieval_BM25P,bm25_b=0.4 DenseRetrieval",
            "rerank_depth",
            ["add --reranker"],
        ),
        (
            "--vectors_dtype float16 --retriever_type HybridRetrieval,hybrid_retrievers=HybridRetrieval+A",
            "vectors_dtype",
            ["only DenseRetrieval reads it"],
        ),
    ],
)
def test_what_none_of_the_retrievers_reads_is_refused(words: str, flag: str, reasons: list[str], refusal: Any) -> None:
    assert refusal(words, RETRIEVE) == [f"--{flag} would be ignored: {reason}" for reason in reasons]


def test_a_rule_about_flags_that_a_command_has_not_does_not_hold() -> None:
    groups = [RunArguments, DatasetArguments]
    assert parse("--overwrite_output_dir --max_eval_samples 3", groups)["max_eval_samples"] == 3
    assert parse("--overwrite_output_dir", groups)["overwrite_output_dir"]


@pytest.mark.parametrize("name", _BOUNDS)
def test_every_number_has_its_range(name: str, refusal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "_IGNORED", [])
    bound = _BOUNDS[name]
    of_trainer = [(TrainerArguments, field) for field in dataclasses.fields(TrainerArguments)]
    group, field = {field.name: (group, field) for group, field in of_trainer + FIELDS}[name]
    whole = "int" in str(field.type)
    step = 1 if whole else 1e-3
    with_value = f"{REQUIRED.get(group, '')} --{name} {{}} ".format

    lowest = int(bound.low) if whole else bound.low
    wrong = lowest - step if bound.low_allowed else lowest
    kind = "at least" if bound.low_allowed else "above"
    (complaint,) = [line for line in refusal(with_value(wrong), [group]) if line.startswith(f"--{name} ")]
    assert complaint.startswith(f"--{name} {wrong:.10g} must be {kind} {bound.low:.10g}")
    if name not in ("max_seq_len", "stride_len"):  # they bound each other
        right = lowest if bound.low_allowed else lowest + step
        assert parse(with_value(right), [group])[name] == right
    if bound.high < float("inf"):
        highest = int(bound.high) if whole else bound.high
        assert parse(with_value(highest), [group])[name] == highest
        (complaint,) = refusal(with_value(highest + step), [group])
        assert complaint.endswith(f"and at most {bound.high:.10g}")
    if not whole:
        assert refusal(with_value("nan"), [group])[0].startswith(f"--{name} nan must be")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "1e39"])
@pytest.mark.parametrize("name", [field.name for _, field in FIELDS if re.search(r"\bfloat\b", str(field.type))])
def test_no_number_is_infinite(name: str, value: str, refusal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those without bounds and those in lists too."""
    monkeypatch.setattr(arguments, "_IGNORED", [])
    group = next(group for group, field in FIELDS if field.name == name)
    (complaint,) = refusal(f"{REQUIRED.get(group, '')} --{name}={value}", [group])
    assert complaint == f"--{name} {float(value):.10g} must be a finite number of 32 bits"


@pytest.mark.parametrize("name", [field.name for _, field in FIELDS if re.search(r"\bint\b", str(field.type))])
def test_no_count_is_beyond_32_bits(name: str, refusal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "_IGNORED", [])
    group = next(group for group, field in FIELDS if field.name == name)
    complaint, *_ = refusal(f"{REQUIRED.get(group, '')} --{name} 1000000000000000000", [group])
    assert re.fullmatch(rf"--{name} 1e\+18 must be (at least 0 and )?at most (2147483647|4294967295)", complaint)


def test_numbers_of_a_retriever_in_one_word_and_of_a_file_are_checked_too(config: Any, refusal: Any) -> None:
    with pytest.raises(UserError, match=r"bm25_delta=inf: --bm25_delta inf must be a finite number of 32 bits"):
        arguments_of("SparseRetrieval_BM25P,bm25_delta=inf", RetrieverArguments())
    assert refusal(config("learning_rate: .inf\n")) == ["--learning_rate inf must be a finite number of 32 bits"]


def test_shares_are_at_most_one() -> None:
    shares = "head_dropout_ratio backbone_dropout label_smoothing_factor warmup_ratio bm25_b layerwise_lr_decay "
    shares += "dpr_dropout reranker_dropout"
    assert {name for name, bound in _BOUNDS.items() if bound.high == 1} == set(shares.split())


def test_the_stride_is_below_the_length(refusal: Any) -> None:
    assert refusal("--max_seq_len 64 --stride_len 64") == ["--stride_len 64 must be below --max_seq_len 64"]
    assert parse("--max_seq_len 64 --stride_len 63")["stride_len"] == 63


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--modle a", "--modle is not a flag of command.py; did you mean --model?"),
        ("--learnin_rate=3", "--learnin_rate is not a flag of command.py; did you mean --learning_rate?"),
        ("--evaluation_strateg epoch", "--evaluation_strateg is not a flag of command.py; did you mean "
                                       "--evaluation_strategy?"),
        ("--stride-length 3", "--stride-length is not a flag of command.py; did you mean --stride_len?"),
        ("--dpr a", "--dpr is not a flag of command.py"),
        ("--foo -1", "--foo is not a flag of command.py"),
        ("-x", "-x is not a flag of command.py"),
        ("--do_predict", "--do_predict has no effect in command.py; it belongs to another command"),
        ("--fp16", "--fp16 is not a flag of command.py: use --precision fp16"),
        ("--bf16 True", "--bf16 is not a flag of command.py: use --precision bf16"),
        ("--save_steps 5", "--save_steps is not a flag of command.py: state is saved at every evaluation: use "
                           "--eval_steps"),
        ("--do_train", "--do_train is not a flag of command.py: this command always trains"),
        ("--push_to_hub", "--push_to_hub is a flag of the Hugging Face Trainer, and command.py does not read it"),
        ("--model", "argument --model: expected one argument"),
        ("--seed many", "argument --seed: invalid int value: 'many'"),
        ("--learning_rat 3", "--learning_rat is not a flag of command.py; did you mean --learning_rate?"),
        ("model seed", "do not know what to do with model seed: every value needs its flag"),
        ("--seed 1 2", "do not know what to do with 2: every value needs its flag"),
        ("--run_name ../x", "--run_name '../x' must name one folder inside another: no slash, no dot or blank at its "
                            "beginning"),
        ("--run_name=", "--run_name '' must name one folder inside another: no slash, no dot or blank at its "
                        "beginning"),
        ("--run_name best", "--run_name 'best' is what a run names its own files"),
        ("-- seed 7", "-- seed: write --seed, without the blank"),
        ("--seed 1 -- SECRET", "what follows -- is no flag"),
        ("--seed 1 hub_token SECRET", "do not know what to do with hub_token ***: every value needs its flag"),
        ("--seed 1 https://me:SECRET@host", "do not know what to do with https://***@host: every value needs its flag"),
        ("--hub_tokn=SECRET", "--hub_tokn is not a flag of command.py"),
        ("--hub_tokn SECRET", "--hub_tokn is not a flag of command.py"),
        ("--config nowhere.yaml", "--config nowhere.yaml cannot be read: [Errno 2] No such file or directory: "
                                  "'nowhere.yaml'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flag_is_said_in_one_line(words: str, complaint: str, refusal: Any) -> None:
    assert refusal(words) == [complaint]


def test_a_value_that_is_no_choice_names_the_choices(refusal: Any) -> None:
    (complaint,) = refusal("--freeze_pretrained_weight some")
    assert complaint.startswith("argument --freeze_pretrained_weight: invalid choice: 'some' (choose from ")
    assert all(choice in complaint for choice in ("none", "all", "first", "last"))


def test_hints_are_for_commands_that_have_what_they_name(refusal: Any) -> None:
    required = REQUIRED[ScoreArguments]
    words = f"{required} --fp16 --do_train --save_steps 3"
    for complaint in refusal(words, [ScoreArguments]):
        assert complaint.endswith("is a flag of the Hugging Face Trainer, and command.py does not read it")


def test_required_flags_are_named(refusal: Any) -> None:
    assert refusal("", [ScoreArguments]) == ["the following arguments are required: --gold, --predictions"]


def test_a_flag_that_the_command_does_not_read_is_refused_with_its_reason(refusal: Any) -> None:
    unused = {"logging_dir": "nothing is logged", "learning_rate": "nothing is trained"}
    assert refusal("--logging_dir a --learning_rate -1", unused=unused) == [
        "--logging_dir has no effect in command.py: nothing is logged",
        "--learning_rate has no effect in command.py: nothing is trained",
        "--learning_rate -1 must be above 0",
    ]


def test_everything_that_is_wrong_is_said_at_once(refusal: Any) -> None:
    assert refusal("--modle a --fp16 --max_steps 5 --num_train_epochs 2 --logging_steps 0 --max_seq_len 16") == [
        "--modle is not a flag of command.py; did you mean --model?",
        "--fp16 is not a flag of command.py: use --precision fp16",
        "--num_train_epochs would be ignored: --max_steps replaces it",
        "--logging_steps 0 must be above 0",
        "--stride_len 128 must be below --max_seq_len 16",
    ]


def test_abbreviations_are_no_flags() -> None:
    assert not build_parser("command.py", TRAINING).allow_abbrev


# -------------------------------------------------------------------------------------------------------------- config


@pytest.fixture
def config(tmp_path: Path):
    """Write a file of flags and return the words that name it."""

    def write(text: str, name: str = "run.yaml") -> list[str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return ["--config", str(tmp_path / name)]

    return write


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


def test_a_yaml_file_gives_values(config: Any) -> None:
    values = parse(config(YAML))
    assert {name: values[name] for name in EXPECTED} == EXPECTED
    others = parse("")
    assert {name: value for name, value in values.items() if name not in EXPECTED} == {
        name: value for name, value in others.items() if name not in EXPECTED
    }


def test_a_json_file_gives_the_same(config: Any) -> None:
    assert parse(config(json.dumps(EXPECTED), "run.json")) == parse(config(YAML))


def test_the_command_line_wins(config: Any) -> None:
    file = config(YAML)
    values = parse([*file, "--max_steps", "7"])
    assert (values["max_steps"], values["model"]) == (7, "klue/roberta-large")
    assert parse(["--seed", "3", *file, "--model", "b"])["model"] == "b"
    assert parse(["--model", "b", *file])["model"] == "b"


def test_required_flags_can_be_in_the_file(config: Any) -> None:
    values = parse(config("gold: a\npredictions: b\n"), [ScoreArguments])
    assert (values["gold"], values["predictions"]) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("modle: a", "--modle is not a flag of command.py; did you mean --model?"),
        ("num_train_epochs: 2\nmax_steps: 5", "--num_train_epochs would be ignored: --max_steps replaces it"),
        ("logging_steps: 0", "--logging_steps 0 must be above 0"),
        ("seed: [1, 2]", "do not know what to do with 2: every value needs its flag"),
        ("- a\n- b", "--config {path} must hold a mapping of flags to values"),
        ("", "--config {path} must hold a mapping of flags to values"),
        ("run: {seed: 1}", "--config {path}: run must be a flag with a value; files do not nest"),
        ("config: other.yaml", "--config {path}: config must be a flag with a value; files do not nest"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(config: Any, refusal: Any, text: str, complaint: str) -> None:
    words = config(text)
    assert refusal(words) == [complaint.format(path=words[1])]


def test_the_record_of_a_run_is_a_file_that_repeats_it(config: Any) -> None:
    words = "--max_steps 5 --lr_scheduler_type cosine --head lstm --model a --augment title_prefix "
    words += "--freeze_pretrained_weight all"
    values = parse(words)
    assert parse(config(json.dumps(values), "arguments.json")) == values
    assert parse([*config(json.dumps(values), "arguments.json"), "--seed", "7"]) == values | {"seed": 7}
    unused = {"logging_dir": "nothing is logged", "logging_steps": "nothing is logged"}
    assert parse(config(json.dumps(values), "arguments.json"), unused=unused) == values
    own = {"output_dir": "./elsewhere", "logging_steps": 3}
    values = parse("", defaults=own)
    assert parse(config(json.dumps(values), "arguments.json"), unused=unused, defaults=own) == values
    values = parse("--retriever_type A B --top_k 3", RETRIEVE)
    assert values["write"] == [] and parse(config(json.dumps(values), "arguments.json"), RETRIEVE) == values


def test_a_file_gives_what_a_command_would_decide_otherwise(config: Any) -> None:
    later = {"max_seq_len": None, "stride_len": None}
    assert parse("", defaults=later)["max_seq_len"] is None
    file = config(json.dumps(parse("")), "arguments.json")
    assert parse(file, defaults=later)["max_seq_len"] == 384


def test_what_a_file_says_that_has_no_effect_is_refused(config: Any, refusal: Any) -> None:
    unused = {"logging_dir": "nothing is logged", "save_total_limit": "nothing is kept"}
    words = config("logging_dir: a\nsave_total_limit: 7\n")
    assert refusal(words, unused=unused) == [
        "--logging_dir has no effect in command.py: nothing is logged",
        "--save_total_limit has no effect in command.py: nothing is kept",
    ]


@pytest.mark.parametrize(("name", "text"), [("run.yaml", "a: [1"), ("run.json", '{"seed": 1'), ("run.yaml", "\x00")])
def test_a_file_that_cannot_be_parsed_is_named_in_one_line(config: Any, refusal: Any, name: str, text: str) -> None:
    words = config(text, name)
    (complaint,) = refusal(words)
    assert complaint.startswith(f"--config {words[1]} cannot be read: ")


def test_lists_are_for_flags_that_take_several_values(config: Any) -> None:
    @dataclasses.dataclass
    class Several:
        numbers: list[int] = dataclasses.field(default_factory=list, metadata={"help": "Some numbers."})

    assert parse(config("numbers: [1, -2, 3]"), [Several])["numbers"] == [1, -2, 3]


# ------------------------------------------------------------------------------------------------------------- secrets

_SECRET = "s3cr3t"
_WITH_CREDENTIALS = [
    f"https://me:{_SECRET}@host:9200",
    f"https://{_SECRET}@host",
    f"http://me:{_SECRET}/slash@host:9200",
    f"https://host:9200/?api_key={_SECRET}",
]


def _refusal_of(words: list[str], groups: list[type], refusal: Any) -> str:
    text = "\n".join(refusal(words, groups))
    assert "must not hold credentials" in text and _SECRET not in text
    return text


@pytest.mark.parametrize("url", [*_WITH_CREDENTIALS, f"me:{_SECRET}@host:9200"])
@pytest.mark.parametrize("flag", ["elastic_url", "milvus_uri"])
def test_credentials_in_the_address_of_a_server_are_refused_unrepeated(
    flag: str, url: str, refusal: Any, config: Any
) -> None:
    for words in (["--" + flag, url], [f"--{flag}={url}"], config(f"{flag}: '{url}'")):
        assert "in the environment" in _refusal_of(words, RETRIEVE, refusal)


@pytest.mark.parametrize(
    "flag", ["model", "dataset_path", "retriever_type", "output_dir", "reranker", "hybrid_retrievers"]
)
def test_credentials_in_any_url_are_refused_unrepeated(flag: str, refusal: Any, config: Any) -> None:
    url = _WITH_CREDENTIALS[0]
    value = f"ElasticRetrieval,elastic_url={url}" if flag in ("retriever_type", "hybrid_retrievers") else url
    for words in (["--" + flag, value], config(f"{flag}: '{value}'")):
        assert f"--{flag} must not hold" in _refusal_of(words, INFERENCE, refusal)
    parse(["--description", "see https://host/@me and me@host"])


@pytest.mark.parametrize("text", [f"hub_token: {_SECRET}: x", f"hub_token: '{_SECRET}", f"a: 1\nhub_token: [{_SECRET}"])
def test_what_cannot_be_read_is_not_repeated(text: str, refusal: Any, config: Any) -> None:
    (complaint,) = refusal(config(text))
    assert "cannot be read: " in complaint and " at line " in complaint and _SECRET not in complaint


def test_secrets_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--hub_token", _SECRET, "--hub-token", _SECRET, f"--hub_token={_SECRET}", "--tokenizer", "a"]
    monkeypatch.setattr("sys.argv", ["train_mrc_v2.py", *words])
    filled = parse_arguments("train_mrc_v2.py", TRAINER)
    assert filled[0].hub_token == _SECRET
    values = resolved_arguments(*filled)
    assert (values["hub_token"], values["tokenizer"]) == (None, "a")
    masked = ["--hub_token", "***", "--hub-token", "***", "--hub_token=***", "--tokenizer", "a"]
    assert sys.argv == ["train_mrc_v2.py", *masked]


def test_only_the_token_of_the_hub_is_a_secret() -> None:
    assert {name for name in _flags([*GROUPS, TrainerArguments]) if is_secret(name)} == {"hub_token"}
