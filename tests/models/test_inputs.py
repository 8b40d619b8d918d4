"""What models of several families are fed: inputs, control tokens, padding, lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tiny_models import tiny_bert
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BartForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from loading.examples import example_features
from models.cross_encoder import CrossEncoder, Pair, RerankerSettings
from models.encoder import BiEncoder, EncoderSpec
from models.inputs import ModelInputs, append_end_token, longest_first_batches, padded, titled, tokenize
from models.loading import encoder_class_of, position_limit
from reading.batching import FeatureCollator
from reading.features import build_features, make_features
from runtime.errors import UserError

_USUAL = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "pad_token_id": 1,
    "max_position_embeddings": 66,
}  # fmt: skip
# Of each family: its configuration, whether it is fed the two token types of a BERT tokenizer, and its longest row.
FAMILIES: dict[str, tuple[str, dict[str, Any], bool, int | None]] = {
    "bert": ("bert", _USUAL, True, 66),
    "klue/roberta": ("roberta", _USUAL | {"type_vocab_size": 1}, False, 64),
    "two segments": ("roberta", _USUAL | {"type_vocab_size": 2}, True, 64),
    "deberta-v3": (
        "deberta-v2",
        _USUAL | {"type_vocab_size": 0, "position_biased_input": False, "relative_attention": True},
        False,
        None,
    ),
    "distilbert": (
        "distilbert",
        {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 66},
        False,
        66,
    ),
    "longformer": ("longformer", _USUAL | {"attention_window": 4, "type_vocab_size": 1}, False, 64),
    "roformer": ("roformer", _USUAL, True, 66),
    "bart": (
        "bart",
        {
            "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 66,
        },
        False,
        66,
    ),
    "xlnet": ("xlnet", {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}, True, None),
    "funnel": (
        "funnel",
        {"block_sizes": [1, 1], "num_decoder_layers": 1, "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 16},
        True,
        None,
    ),
    "t5": ("t5", {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}, False, None),
}  # fmt: skip


def model_of(family: str, vocab_size: int) -> PreTrainedModel:
    name, options, *_ = FAMILIES[family]
    config = CONFIG_MAPPING[name](vocab_size=vocab_size, **options)
    torch.manual_seed(0)
    return encoder_class_of(config)(config).eval()


# -------------------------------------------------------------------------------------------------------------- inputs


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_model_is_fed_what_it_takes_and_can_hold(bert_tokenizer: PreTrainedTokenizerFast, family: str) -> None:
    *_, takes_types, limit = FAMILIES[family]
    model = model_of(family, len(bert_tokenizer))
    inputs = ModelInputs(model, bert_tokenizer)
    assert ("token_type_ids" in inputs.names) is takes_types
    assert ("global_attention_mask" in inputs.names) is (family == "longformer")
    assert position_limit(model) == limit
    assert inputs.limit == min(limit or 128, 128)
    rows = inputs.tokenize(["왕은 누구인가?", "왕?"], ["세종은 조선의 왕이다.", "서울"])
    batch = inputs.pad(rows, 16)
    states = model(**batch).last_hidden_state
    assert states.shape == (2, 32, 16) and states.isfinite().all()
    longest = inputs.pad([{name: values[:1] * inputs.limit for name, values in rows[0].items()}], 16)
    assert model(**longest).last_hidden_state.shape == (1, inputs.limit, 16)


def test_no_padding_goes_beyond_the_positions_whatever_the_tokenizer_allows(
    bert_tokenizer: PreTrainedTokenizerFast,
) -> None:
    inputs = ModelInputs(model_of("klue/roberta", len(bert_tokenizer)), bert_tokenizer)
    assert inputs.pad([{"input_ids": [7] * 50}], 32)["input_ids"].shape == (1, 64)
    collator = FeatureCollator(model_of("bert", len(bert_tokenizer)), bert_tokenizer)
    feature = {"input_ids": [7] * 65, "answer_mask": [1] * 65, "cls_index": 0, "example_index": 0}
    feature |= {"gold_starts": [0], "gold_ends": [0]}
    assert collator([feature])["input_ids"].shape == (1, 66)


def test_padding_on_either_side(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    inputs = ModelInputs(tiny_bert(bert_tokenizer), bert_tokenizer)
    rows = [{"input_ids": [7, 8], "token_type_ids": [1, 1]}, {"input_ids": [7, 8, 9], "token_type_ids": [0, 1, 1]}]
    right, left = inputs.pad(rows, 4), inputs.pad(rows, 4, side="left")
    assert right["input_ids"].tolist() == [[7, 8, 0, 0], [7, 8, 9, 0]]
    assert left["input_ids"].tolist() == [[0, 0, 7, 8], [0, 7, 8, 9]]
    assert left["token_type_ids"].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert left["attention_mask"].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]


def test_a_tokenizer_larger_than_the_embeddings_is_refused(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = len(bert_tokenizer)
    with pytest.raises(UserError, match=f"has {tokens} tokens and .* embeddings for only {tokens - 1}: they"):
        ModelInputs(model_of("bert", tokens - 1), bert_tokenizer)
    ModelInputs(model_of("bert", tokens + 8), bert_tokenizer)


def test_a_model_that_cannot_read_two_texts_is_refused_in_a_sentence(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    _, options, *_ = FAMILIES["bart"]
    config = CONFIG_MAPPING["bart"](vocab_size=len(bert_tokenizer), eos_token_id=9, num_labels=1, **options)
    model = BartForSequenceClassification(config).train()  # scores at its end-of-text token, which the template lacks
    with pytest.raises(UserError, match=r"a bart, cannot read a question and a text: [^\n]+$"):
        ModelInputs(model, bert_tokenizer)
    assert model.training


# ------------------------------------------------------------------------------------------------------ control tokens


def _unigram(pieces: list[str], **special: str) -> PreTrainedTokenizerFast:
    """A SentencePiece-like tokenizer, whose vocabulary holds its control tokens as the likeliest pieces."""
    backend = Tokenizer(models.Unigram([(piece, -float(number)) for number, piece in enumerate(pieces)], unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


@pytest.mark.parametrize("name", ["bert_tokenizer", "roberta_tokenizer"])
def test_a_text_that_spells_control_tokens_has_none(request: pytest.FixtureRequest, name: str) -> None:
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(name)
    spelled = " ".join(tokenizer.all_special_tokens)
    text, pair = f"왕은{spelled}누구인가?", f"{spelled} 세종 {spelled}"
    (ids,) = tokenize(tokenizer, [text], [pair])["input_ids"]
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    plain = tokenizer("가", "나")["input_ids"]
    assert [token for token in ids if token in control] == [token for token in plain if token in control]
    encoded = tokenize(tokenizer, [text], add_special_tokens=False, return_offsets_mapping=True)
    assert not control & set(encoded["input_ids"][0])
    assert encoded["offset_mapping"][0][-1][1] == len(text)
    assert control & set(tokenizer(text, add_special_tokens=False)["input_ids"])  # what the library does by itself


def test_a_control_token_that_is_a_piece_becomes_unknown() -> None:
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    pieces = ["<s>", "</s>", "<pad>", "<unk>", "▁", "▁왕", "은", "은</s>"]
    tokenizer = _unigram(pieces, **special)
    assert tokenize(tokenizer, ["왕은 </s>"])["input_ids"] == [[5, 6, 4, 3]]
    assert tokenize(tokenizer, ["왕", "</s>"], ["왕은</s>", "</s>"])["input_ids"] == [[5, 5, 7], [4, 3, 4, 3]]
    without = _unigram(pieces, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    with pytest.raises(UserError, match="reads </s> in a text as a control token and has no unknown token"):
        tokenize(without, ["왕은 </s>"])


def test_features_of_a_text_that_spells_control_tokens_keep_their_labels(
    roberta_tokenizer: PreTrainedTokenizerFast,
) -> None:
    context = "세종은 </s> 조선의 <s> 왕이다. <pad>"
    examples = {
        "question": ["왕은 </s> 누구인가?"],
        "context": [context],
        "answers": [{"text": ["조선의 <s> 왕"], "answer_start": [context.index("조선")]}],
    }
    features = make_features(examples, [0], roberta_tokenizer, 128, 8).to_pydict()
    (ids,), (offsets,) = features["input_ids"], features["offset_mapping"]
    assert [ids.count(token) for token in (roberta_tokenizer.cls_token_id, roberta_tokenizer.sep_token_id)] == [1, 3]
    start, end = offsets[features["start_positions"][0]][0], offsets[features["end_positions"][0]][1]
    assert context[start:end].strip() == "조선의 <s> 왕"


# -------------------------------------------------------------------------------------------- families of their own way


def test_longformer_looks_from_the_question_to_the_whole_window(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    model = model_of("longformer", len(bert_tokenizer))
    examples = {
        "question": ["왕은?", "왕은 누구인가?"],
        "context": ["세종은 왕이다.", "세종은 조선의 왕이다."],
        "answers": [{"text": [], "answer_start": []}] * 2,
    }
    features = make_features(examples, [0, 1], bert_tokenizer, 64, 8).to_pydict()
    rows = [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]
    batch = FeatureCollator(model, bert_tokenizer)(rows)
    for row, seen in zip(rows, batch["global_attention_mask"], strict=True):
        question = row["input_ids"].index(bert_tokenizer.sep_token_id)
        assert seen.tolist() == [1] * question + [0] * (len(seen) - question)
    encoder = BiEncoder(model, model, bert_tokenizer, EncoderSpec())
    padded = encoder.pad(encoder.tokenize_questions(["왕은 누구인가?", "왕?"]))
    assert padded["global_attention_mask"].tolist() == [[1] + [0] * 15] * 2


def test_xlnet_vectors_are_those_of_its_last_token(bert_tokenizer: PreTrainedTokenizerFast) -> None:
    model = model_of("bert", len(bert_tokenizer))
    encoder = BiEncoder(model, model, bert_tokenizer, EncoderSpec())
    ids, cls = [7, 8, 9, bert_tokenizer.cls_token_id], 3
    batch = encoder.pad([{"input_ids": ids, "token_type_ids": [0] * 4}])
    with torch.no_grad():
        states = model(**batch).last_hidden_state
        torch.testing.assert_close(encoder.embed_questions(batch), states[:, cls])


def test_reading_takes_the_longest_first_and_every_row_once() -> None:
    lengths = [3, 9, 5, 9, 1]
    for device in (torch.device("cpu"), torch.device("cuda")):  # a GPU counts tokens by 32
        assert longest_first_batches(lengths, 2, device) == [[1, 3], [2, 0], [4]]
        assert longest_first_batches([], 2, device) == []


def test_a_gpu_reads_as_many_tokens_of_shorter_rows() -> None:
    lengths = [*range(1, 200)]
    batches = longest_first_batches(lengths, 4, torch.device("cuda"))
    assert [row for batch in batches for row in batch] == list(range(198, -1, -1))
    tokens = [len(batch) * -(-lengths[batch[0]] // 32) * 32 for batch in batches]
    assert tokens[0] == max(tokens) == 4 * 224 and len(batches[0]) == 4
    assert all(count > 600 for count in tokens[:-1])
    assert {len(batch) for batch in longest_first_batches(lengths, 4, torch.device("cpu"))} == {4, 3}


def test_rows_are_padded_on_the_side_that_is_asked_for() -> None:
    assert padded([1, 2], 4, 0) == [1, 2, 0, 0]
    assert padded([1, 2], 4, 7, "left") == [7, 7, 1, 2]
    assert padded([1, 2], 2, 0) == [1, 2]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["bert_tokenizer", "roberta_tokenizer"])
def test_padding_is_that_of_the_tokenizer_where_it_can_pad(
    name: str, side: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(name)
    inputs = ModelInputs(tiny_bert(tokenizer), tokenizer)
    rows = inputs.tokenize(["서울은?", "왕은 누구인가?"], ["서울은 수도이다.", "세종은 왕이다. 그는 글자를 만들었다."])
    expected = tokenizer.pad(rows, padding_side=side, pad_to_multiple_of=16, return_tensors="pt")
    found = inputs.pad(rows, multiple=16, side=side)
    assert found.keys() == expected.keys()
    for column, tensor in found.items():
        assert torch.equal(tensor, expected[column]), column


def test_an_end_token_comes_behind_what_a_template_has_set(tmp_path: Path) -> None:
    backend = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(["<s>", "<e>", "?", "가", "나", "<m>"])}, "?")
    )
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?", eos_token="<e>", pad_token="<e>")
    control = [("<s>", 0), ("<m>", 5)]
    begins = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=control)
    both = processors.TemplateProcessing(single="<s> $A <m>", pair="<s> $A $B <m>", special_tokens=control)
    for template, expected in ((None, [3, 4, 1]), (begins, [0, 3, 4, 1]), (both, [0, 3, 4, 5, 1])):
        if template is not None:
            backend.post_processor = template
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?", eos_token="<e>", pad_token="<e>")
        append_end_token(tokenizer)
        append_end_token(tokenizer)  # once is enough
        assert tokenizer("가나")["input_ids"] == expected
        assert tokenizer("가", "나")["input_ids"] == expected
        assert tokenizer("가나" * 9, truncation=True, max_length=5)["input_ids"][-1] == 1
        tokenizer.save_pretrained(tmp_path)
        assert PreTrainedTokenizerFast.from_pretrained(tmp_path)("가나")["input_ids"] == expected
        assert tokenize(tokenizer, ["가나"])["input_ids"] == [expected]
    tokenizer.eos_token = None
    with pytest.raises(UserError, match=r"--append_eos: the tokenizer of .* has no end token"):
        append_end_token(tokenizer)


def test_a_passage_is_read_with_its_title_unless_that_is_blank() -> None:
    assert titled("세종", "왕이다.") == "세종: 왕이다."
    assert titled("", "왕이다.") == titled(" \u200b", "왕이다.") == "왕이다."


@pytest.mark.parametrize("title", ["한강", ""])
def test_readers_retrievers_and_rerankers_read_one_title_and_text(
    title: str, bert_tokenizer: PreTrainedTokenizerFast
) -> None:
    text = "강이다"
    expected = bert_tokenizer(titled(title, text), add_special_tokens=False)["input_ids"]
    model = tiny_bert(bert_tokenizer)
    (read,) = BiEncoder(model, model, bert_tokenizer, EncoderSpec()).tokenize_passages([(title, text)])
    scored = BertForSequenceClassification(model.config).eval()
    (pair,) = CrossEncoder(scored, bert_tokenizer, RerankerSettings(64)).tokenize([Pair("강?", title, text)])
    answers = {"text": ["강"], "answer_start": [0]}
    row = {"id": "1", "title": title, "question": "강?", "context": text, "answers": answers, "document_id": "1"}
    (feature,) = build_features(
        Dataset.from_list([row], features=example_features()), bert_tokenizer, 64, 8, title_prefix=True
    )
    assert read["input_ids"][1:-1] == expected
    assert pair["input_ids"][-len(expected) - 1 : -1] == expected
    assert feature["input_ids"][-len(expected) - 1 : -1] == expected
