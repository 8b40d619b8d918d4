"""Every published encoder of tests/families.py through every command: it works, or is refused in the sentence given."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import is_close
from families import COMMANDS, DOCUMENT, FAMILIES, Family, document
from forgetting import forget_accelerator
from tiny_data import PASSAGES, QUESTIONS
from tokenizers import PreTokenizedString, Tokenizer, pre_tokenizers
from transformers import AutoTokenizer, DebertaV2Config, PreTrainedTokenizerFast

import inference
import retrieve
import train_dpr
import train_mrc
import train_mrc_v2
import train_reranker
from arguments import RetrieverArguments
from loading.examples import load_examples
from models import load_reader, load_tokenizer
from models.cross_encoder import Pair, RerankerSettings, load_cross_encoder, load_cross_encoder_to_train
from models.encoder import load_bi_encoder
from models.inputs import GLOBAL_ATTENTION, ModelInputs
from models.loading import encoder_class_of, load_config
from reading.batching import FeatureCollator
from reading.features import build_features, make_features
from retrieval.base import MANIFEST_NAME
from runtime.errors import UserError
from runtime.tracking import read_metrics

# Every family's control tokens, as a text may spell them.
SPELLED = "[CLS] [SEP] [PAD] [MASK] <s> </s> <pad> <mask> <cls> <sep> <extra_id_0> <eop>"
MAX_SEQ_LEN, STRIDE_LEN = 64, 12
HEADS = ("linear", "cnn_sds")

rows = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.id)


def rows_where(works: Callable[[Family], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("family", list(filter(works, FAMILIES)), ids=lambda family: family.id)


def passages() -> list[tuple[str, str]]:
    first, *others = PASSAGES
    return [(first[0], f"{first[1]} 끝은 {SPELLED} 이다."), *others]


def squad(questions: list[tuple[int, str, str]], with_answers: bool = True, times: int = 1) -> dict[str, Any]:
    """Return questions as SQuAD-format JSON, the first of which spells control tokens; passages ``times`` over."""
    articles = []
    for number, (passage, question, answer) in enumerate(questions):
        title, context = passages()[passage]
        question = question if number else f"[SEP] </s> <sep> {question}"
        answers = [{"text": answer, "answer_start": context.index(answer)}] if with_answers else []
        qas = [{"id": f"q{number}", "question": question, "answers": answers}]
        paragraphs = [{"context": context * times if with_answers else "", "qas": qas}]
        articles.append({"title": title, "paragraphs": paragraphs})
    return {"data": articles}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set ``data``, and ``long``, whose passage fills every model's longest row."""
    folder = tmp_path_factory.mktemp("families")
    contents = {
        "data/train": squad(QUESTIONS[:6]),
        "data/validation": squad(QUESTIONS[:2]),
        "data/test": squad(QUESTIONS[:2], with_answers=False),
        "data/wikipedia_documents": {
            str(number): {"title": title, "text": text, "document_id": number}
            for number, (title, text) in enumerate(passages())
        },
        "long/train": squad(QUESTIONS[:1], times=4),
    }
    for name, content in contents.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def without_jieba_and_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rjieba", None)
    monkeypatch.setattr(retrieve, "plot", lambda *_: None)  # half of the time


class Runs:
    """The copies of the rows, each built once, and how the commands ended on them, each run once."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.copy_of, self.sentence = cache(self._build), cache(self._run)

    def folder(self, family: Family, command: str) -> Path:
        """Where ``command`` wrote to."""
        return self.work / family.id / command

    def _build(self, family: Family) -> Path:
        folder = self.work / family.id / "copy"
        family.build(folder, [text for passage in passages() for text in passage] + [q for _, q, _ in QUESTIONS])
        return folder

    def _run(self, family: Family, command: str) -> str:
        """Run ``command``; return the sentence that it ended with, "" where it ended well."""
        try:
            for main, flags in self._calls(family, command):
                call(main, {"dataset_path": self.work / "data"} | flags)
        except UserError as error:
            return str(error)
        return ""

    def _calls(self, family: Family, command: str) -> Iterator[tuple[Callable[[list[str]], Any], dict[str, Any]]]:
        copy, out = self.copy_of(family), self.folder(family, command)
        exact, bm25 = {"precision": "fp32"}, {"analyzer": "bigram", "index_dir": self.work / "index"}
        one_step = exact | {
            "max_steps": 1,
            "warmup_ratio": 0,
            "logging_steps": 1,
            "learning_rate": 1e-5,
            "do_eval": "",
            "output_dir": out,
        }
        windows = {"max_seq_len": MAX_SEQ_LEN, "stride_len": STRIDE_LEN}
        reader = one_step | windows | {"model": copy, "cache_dir": self.work / "cache"}
        lengths = {"question_max_len": 32, "passage_max_len": 48}
        match command:
            case "linear":
                yield train_mrc.main, reader | {"head": "linear"}
            case "cnn_sds":
                yield train_mrc.main, reader | {"head": "cnn_sds", "freeze_embedding_layer_weight": True}
            case "v2":
                yield train_mrc_v2.main, reader | {"head": "cnn_sds", "do_train": ""}
            case "inference":
                trained = [head for head in HEADS if self.sentence(family, head) == ""]
                for model in [self.folder(family, head) / "best" for head in trained] or [copy]:
                    where = {"model": model, "output_dir": out / model.parent.name, "do_predict": ""}
                    yield inference.main, exact | bm25 | windows | where | {"top_k_retrieval": 2}
            case "dpr":
                encoder = {"dpr_model": copy, "retriever_dir": out, "dpr_train_batch": 3, "max_steps": 1}
                yield train_dpr.main, exact | bm25 | lengths | encoder
            case "dense":
                encoder = {"retriever_type": "DenseRetrieval", "retriever_dir": copy, "index_dir": out / "index"}
                yield retrieve.main, lengths | encoder | {"output_dir": out, "top_k": 2}
            case "reranker":
                pairs = {"reranker_max_len": MAX_SEQ_LEN, "hard_negatives": 1, "rerank_depth": 2}
                yield train_reranker.main, one_step | bm25 | pairs | {"reranker_model": copy}


@pytest.fixture(scope="module")
def runs(work: Path) -> Runs:
    return Runs(work)


def call(main: Callable[[list[str]], Any], flags: dict[str, Any]) -> None:
    """Run a command; a flag without a value is a switch."""
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value)) if word]
    with contextlib.redirect_stderr(io.StringIO()):
        main(words)
    forget_accelerator()


# ------------------------------------------------------------------------------------------------------------- outcomes


@rows
@pytest.mark.parametrize("command", COMMANDS)
def test_it_works_or_is_refused_in_this_sentence(runs: Runs, family: Family, command: str) -> None:
    sentence = runs.sentence(family, command)
    if refusal := family.refused.get(command):
        assert sentence == refusal.sentence.format(runs.copy_of(family))
        assert not list(runs.folder(family, command).glob("**/*.safetensors"))
        return
    assert sentence == ""
    out = runs.folder(family, command)
    if command in ("linear", "cnn_sds", "v2"):
        assert {path.name for path in (out / "best").iterdir()} >= {
            "model.safetensors",
            "tokenizer.json",
            "config.json",
        }
        losses = [line["loss"] for line in read_metrics(out / "metrics.jsonl") if "loss" in line]
        assert len(losses) == 1 and np.isfinite(losses).all()
        assert_the_backbone_is_the_copy_a_step_later(out / "best", runs.copy_of(family), frozen=command == "cnn_sds")
    elif command == "inference":
        texts = [text for _, text in passages()]
        answered = list(out.iterdir())
        assert len(answered) == len(heads_of(family))
        for head in answered:
            predictions = json.loads((head / "predictions.json").read_text(encoding="utf-8"))
            assert list(predictions) == ["q0", "q1"] and any(predictions.values())
            nbest = json.loads((head / "nbest_predictions.json").read_text(encoding="utf-8"))
            for answer in (answer for answers in nbest.values() for answer in answers):
                assert answer["text"] == texts[int(answer["document_id"])][answer["start"] : answer["end"]]
    elif command == "dpr":
        assert_vectors_tell_texts_apart(load_bi_encoder(out, RetrieverArguments()))
    elif command == "reranker":
        cross_encoder = load_cross_encoder(str(out / "best"))
        scores = cross_encoder.score(
            [Pair("왕은 누구인가?", title, text) for title, text in passages()], precision="fp32"
        )
        assert np.isfinite(scores).all() and len(np.unique(scores.round(5))) > 1
    else:
        (index,) = (path.parent for path in (out / "index").glob(f"**/{MANIFEST_NAME}"))
        vectors = np.load(index / "vectors.npy")
        assert np.isfinite(vectors).all() and len(np.unique(vectors.round(3), axis=0)) == len(passages())
        assert (out / "retrieval.json").exists()


def assert_the_backbone_is_the_copy_a_step_later(reader: Path, copy: Path, frozen: bool) -> None:
    """A step at a learning rate of 1e-5 moves every part that is read by so much; frozen embeddings stay."""
    before = encoder_class_of(load_config(str(copy))).from_pretrained(copy, dtype=torch.float32)
    after = load_reader(str(reader), trained=True).base_model
    moved = {
        name: (value - before.state_dict()[name]).abs().max()
        for name, value in after.state_dict().items()
        if not name.startswith("pooler.")
    }
    assert 0 < max(moved.values()) < 1e-3
    embeddings = (encoder.get_input_embeddings().weight for encoder in (before, after))
    assert torch.equal(*embeddings) is frozen


def assert_vectors_tell_texts_apart(bi_encoder: Any) -> None:
    with torch.no_grad():
        vectors = bi_encoder.embed_passages(bi_encoder.pad(bi_encoder.tokenize_passages(passages())))
    assert vectors.isfinite().all() and len(vectors.round(decimals=3).unique(dim=0)) == len(passages())


# -------------------------------------------------------------------------------------------------- what models are fed


def loads(family: Family) -> bool:
    return len(family.refused) < len(COMMANDS)


@rows_where(loads)
def test_the_copy_is_as_the_row_says(runs: Runs, family: Family) -> None:
    copy = str(runs.copy_of(family))
    config, tokenizer = load_config(copy), load_tokenizer(copy)
    encoder = encoder_class_of(config).from_pretrained(copy)
    inputs = ModelInputs(encoder, tokenizer)
    assert tuple(inputs.names) == family.fed
    assert inputs.limit == (family.tiny_limit or tokenizer.model_max_length)
    assert encoder.get_input_embeddings().num_embeddings - len(tokenizer) == family.spare_embeddings
    (row,) = inputs.tokenize(["왕"], ["강"])
    assert control_tokens(row["input_ids"], tokenizer) == template(family)


def template(family: Family) -> list[str]:
    """The control tokens that are put around a pair of texts."""
    return [word for word in family.pair.split() if word not in "AB"]


def control_tokens(ids: list[int], tokenizer: PreTrainedTokenizerFast) -> list[str]:
    tokens = tokenizer.convert_ids_to_tokens(ids)
    known = set(tokenizer.all_special_tokens) | {str(token) for token in tokenizer.added_tokens_decoder.values()}
    return [token for token in tokens if token in known - {tokenizer.unk_token}]


@rows_where(loads)
def test_a_text_never_becomes_control_tokens(runs: Runs, family: Family, work: Path) -> None:
    copy = str(runs.copy_of(family))
    tokenizer, examples = load_tokenizer(copy), load_examples(str(work / "data"), ["train"])["train"]
    features = make_features(examples[:], range(len(examples)), tokenizer, MAX_SEQ_LEN, STRIDE_LEN).to_pydict()
    assert len(features["input_ids"]) > len(examples)
    for ids in features["input_ids"]:
        assert control_tokens(ids, tokenizer) == template(family)
    if "dpr" not in family.refused:
        bi_encoder = load_bi_encoder(copy, RetrieverArguments(passage_max_len=48))
        spelled, plain = bi_encoder.tokenize_questions([f"왕은 {SPELLED} 누구인가?", "왕은 누구인가?"])
        assert len(spelled["input_ids"]) > len(plain["input_ids"]) + 12
        assert control_tokens(spelled["input_ids"], tokenizer) == control_tokens(plain["input_ids"], tokenizer)


@rows_where(loads)
def test_labels_are_the_answers_in_the_texts(runs: Runs, family: Family, work: Path) -> None:
    tokenizer, examples = (
        load_tokenizer(str(runs.copy_of(family))),
        load_examples(str(work / "data"), ["train"])["train"],
    )
    features = make_features(examples[:], range(len(examples)), tokenizer, MAX_SEQ_LEN, STRIDE_LEN).to_pydict()
    found = set()
    for number, index in enumerate(features["example_index"]):
        start, end = features["start_positions"][number], features["end_positions"][number]
        if start != features["cls_index"][number]:
            offsets = features["offset_mapping"][number]
            context, (answer,) = examples[index]["context"], examples[index]["answers"]["text"]
            assert answer in context[offsets[start][0] : offsets[end][1]]
            found.add(index)
    assert len(found) == len(examples)


# -------------------------------------------------------------------------------------------------------------- padding


@rows_where(lambda family: loads(family) and not family.padding_counts)
@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_a_row_is_read_alike_alone_and_padded(runs: Runs, family: Family, head: str, work: Path) -> None:
    if head in family.refused:
        return
    copy = str(runs.copy_of(family))
    tokenizer, examples = load_tokenizer(copy), load_examples(str(work / "data"), ["train"])["train"]
    features = make_features(examples[:], range(len(examples)), tokenizer, MAX_SEQ_LEN, STRIDE_LEN).to_pydict()
    rows = [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]
    rows.sort(key=lambda row: row["length"])
    short, long = rows[0], rows[-1]
    assert short["length"] < long["length"]
    torch.manual_seed(0)
    reader = load_reader(copy, head).eval()
    alone = read(reader, FeatureCollator(reader, tokenizer, short["length"])([short]))
    padded = read(reader, FeatureCollator(reader, tokenizer, MAX_SEQ_LEN)([short, long]))
    for one, two in zip(alone, padded, strict=True):
        torch.testing.assert_close(two[:1, : short["length"]], one, rtol=1e-4, atol=1e-4)


def read(reader: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    labels = ("answer_mask", "cls_index", "start_positions", "end_positions")
    outputs = reader(**{name: tensor for name, tensor in batch.items() if name not in labels})
    return outputs.start_logits, outputs.end_logits


@rows_where(lambda family: "dpr" not in family.refused and not family.padding_counts)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@torch.no_grad()
def test_a_vector_is_the_same_alone_and_padded(runs: Runs, family: Family, pooling: str) -> None:
    bi_encoder = load_bi_encoder(str(runs.copy_of(family)), RetrieverArguments(pooling=pooling, passage_max_len=48))
    short, long = bi_encoder.tokenize_questions(["왕?", "자격루를 만든 사람은 누구인가?"])
    both = bi_encoder.embed_questions(bi_encoder.pad([short, long]))
    unpadded = {name: tensor[:, : len(short["input_ids"])] for name, tensor in bi_encoder.pad([short]).items()}
    torch.testing.assert_close(both[:1], bi_encoder.embed_questions(unpadded), rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------ precision and dropout


def pair_of(inputs: ModelInputs, length: int) -> dict[str, torch.Tensor]:
    """A batch of one pair of texts of ``length`` tokens."""
    (row,) = inputs.tokenize(["자격루를 만든 사람은?"], [passages()[0][1]], truncation=True, max_length=length)
    return inputs.pad([{**row, GLOBAL_ATTENTION: [1]}], 1)


def heads_of(family: Family) -> list[str]:
    heads = [head for head in HEADS if head not in family.refused]
    assert heads, family.id
    return heads


@rows_where(loads)
@torch.no_grad()
def test_both_precisions_read_alike(runs: Runs, family: Family) -> None:
    copy = str(runs.copy_of(family))
    tokenizer = load_tokenizer(copy)
    for head in heads_of(family):
        torch.manual_seed(0)
        reader = load_reader(copy, head).eval()
        batch = pair_of(ModelInputs(reader, tokenizer), MAX_SEQ_LEN)
        exact = reader(**batch).start_logits
        with torch.autocast("cpu", torch.bfloat16):
            coarse = reader(**batch).start_logits.float()
        assert torch.corrcoef(torch.stack([exact[0], coarse[0]]))[0, 1] > 0.9


@rows_where(loads)
@torch.no_grad()
def test_a_dropout_that_is_given_is_the_only_one(runs: Runs, family: Family) -> None:
    copy = str(runs.copy_of(family))
    tokenizer = load_tokenizer(copy)
    for dropout in (0.0, 0.5):
        models = [load_reader(copy, head, backbone_dropout=dropout, head_dropout=0.0) for head in heads_of(family)]
        if "reranker" not in family.refused:
            settings = RerankerSettings(MAX_SEQ_LEN)
            models.append(load_cross_encoder_to_train(copy, settings, dropout, torch.device("cpu")).model)
        for model in models:
            batch = pair_of(ModelInputs(model, tokenizer), MAX_SEQ_LEN)
            first, second = (model.train()(**batch) for _ in range(2))
            assert is_close(first[0], second[0]) is (dropout == 0), type(model)


# -------------------------------------------------------------------------------------------------------------- lengths


@rows_where(lambda family: loads(family) and family.tiny_limit is not None)
def test_the_longest_row_is_read_and_one_token_more_is_refused(runs: Runs, family: Family, work: Path) -> None:
    copy, limit = runs.copy_of(family), family.tiny_limit
    head = "cnn_sds" if "linear" in family.refused else "linear"
    flags = {
        "model": copy, "head": head, "dataset_path": work / "long", "output_dir": work / family.id / "longest",
        "cache_dir": work / "cache", "stride_len": STRIDE_LEN, "max_steps": 1, "per_device_train_batch_size": 2,
        "precision": "fp32", "overwrite_output_dir": "",
    }  # fmt: skip
    call(train_mrc.main, flags | {"max_seq_len": limit})
    tokenizer, examples = load_tokenizer(str(copy)), load_examples(str(work / "long"), ["train"])["train"]
    assert max(make_features(examples[:], [0], tokenizer, limit, STRIDE_LEN).to_pydict()["length"]) == limit
    refused = f"{limit + 1} is more than {copy} can read ({limit} tokens)"
    with pytest.raises(UserError, match=f"^--max_seq_len {re.escape(refused)}$"):
        call(train_mrc.main, flags | {"max_seq_len": limit + 1})
    if "dpr" not in family.refused:
        with pytest.raises(UserError, match=f"^--passage_max_len {re.escape(refused)}$"):
            load_bi_encoder(copy, RetrieverArguments(passage_max_len=limit + 1))


# ------------------------------------------------------------------------------------------------------ tokenizer files


def _sentence_piece_model(pieces: list[str], control: list[str]) -> bytes:
    """The bytes of a SentencePiece model of Unigram kind: ``control`` tokens, the last the unknown one, then pieces."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    rows = [(token, 0.0, 2 if token == control[-1] else 3) for token in control]
    rows += [(piece, -1.0 - i, 1) for i, piece in enumerate(pieces)]
    encoded = [
        field(1, piece.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + bytes([3 << 3, kind])
        for piece, score, kind in rows
    ]
    trainer = bytes([3 << 3, 1]) + b"\xc0\x02" + bytes([len(control) - 1])  # Unigram, and where the unknown token is
    normalizer = field(1, b"identity") + bytes([3 << 3, 1])
    return b"".join(field(1, row) for row in encoded) + field(2, trainer) + field(3, normalizer)


def test_a_sentence_piece_model_alone_is_read(tmp_path: Path) -> None:
    """microsoft/mdeberta-v3-base is published with spm.model and without tokenizer.json."""
    pieces = [*(f"▁{letter}" for letter in "가나다라"), "▁", *"가나다라마바사아자차카타파하"]
    (tmp_path / "spm.model").write_bytes(_sentence_piece_model(pieces, ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}', encoding="utf-8")
    DebertaV2Config().save_pretrained(tmp_path)
    tokens = load_tokenizer(str(tmp_path))("가 나", "다").tokens()
    assert tokens == ["[CLS]", "▁가", "▁나", "[SEP]", "▁다", "[SEP]"]


def test_files_that_the_named_class_cannot_hold_are_read_as_they_are(runs: Runs) -> None:
    """pko-t5 names a class of sentence pieces, albert-kor-base none, so that its kind's stands for it."""
    of = {family.id: str(runs.copy_of(family)) for family in FAMILIES}
    with pytest.raises(TypeError):
        AutoTokenizer.from_pretrained(of["pko-t5-base"])
    tokenizer = load_tokenizer(of["pko-t5-base"])
    text = "세종은 조선의 왕이다"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert len(AutoTokenizer.from_pretrained(of["albert-kor-base"])) < 10
    assert load_tokenizer(of["albert-kor-base"]).tokenize("ABC 왕은") == ["[UNK]", "왕", "##은"]


def test_lengths_and_padding_in_tokenizer_json_are_not_ours(
    examples: Any, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """sentence-transformers saves its own beside the vocabulary."""
    bert_tokenizer.save_pretrained(tmp_path)
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    backend.enable_truncation(8)
    backend.enable_padding(length=99, pad_token="[PAD]")
    backend.save(str(tmp_path / "tokenizer.json"))
    features = [
        make_features(examples[:], range(len(examples)), tokenizer, MAX_SEQ_LEN, STRIDE_LEN).to_pydict()
        for tokenizer in (bert_tokenizer, load_tokenizer(str(tmp_path)))
    ]
    assert features[0] == features[1]


class _Letters:
    """A pre-tokenizer in Python, as that of a RoFormer with Jieba is."""

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        text.split(lambda _, word: [word[i : i + 1] for i in range(len(str(word)))])

    def __deepcopy__(self, memory: dict[int, Any]) -> _Letters:
        return self


def test_features_of_a_tokenizer_with_python_in_it_are_made_but_not_kept(
    examples: Any, bert_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer_of_letters(bert_tokenizer, tmp_path)
    features = build_features(examples, tokenizer, MAX_SEQ_LEN, STRIDE_LEN, cache_dir=tmp_path / "cache")
    assert len(features) >= len(examples) and not (tmp_path / "cache").exists()


def load_tokenizer_of_letters(tokenizer: PreTrainedTokenizerFast, folder: Path) -> PreTrainedTokenizerFast:
    tokenizer.save_pretrained(folder)
    copy = PreTrainedTokenizerFast.from_pretrained(folder)
    copy.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(_Letters())
    return copy


# ----------------------------------------------------------------------------------------------------------------- docs


def test_the_documented_table_is_this_one() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "write it again: python -m tests.families"


def test_the_korean_page_holds_the_same_facts() -> None:
    """What is code, a file, a name or a number, in each row and each item of both pages, in any order."""

    def facts(page: Path) -> list[list[str]]:
        rows = re.findall(r"^(?:\| |- ).*", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        fact = re.compile(r"`[^`]+`|[\w-]+(?:[./][\w-]+)+|[\w-]*\d(?:[\w-]|,(?=\d))*", re.ASCII)
        return [sorted(fact.findall(row)) for row in rows]

    assert facts(DOCUMENT.parent / "ko" / DOCUMENT.name) == facts(DOCUMENT)
