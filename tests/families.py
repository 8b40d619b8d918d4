"""Encoders that the Korean community uses: the facts of a published checkpoint, a tiny copy of it, what becomes of it.

A copy has the configuration, tokenizer files and architecture of the original. Only sizes are cut: layers, widths,
vocabulary, positions; its weights are random, and as large as trained ones. tests/test_families.py runs every command
on every copy; docs/encoders.md is made of the same rows:

    python -m tests.families
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, AutoTokenizer

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "encoders.md"
COMMANDS = {
    "linear": "`train_mrc.py` `--head linear`",
    "cnn_sds": "`train_mrc.py` `--head cnn_sds`",
    "v2": "`train_mrc_v2.py` `--head cnn_sds`",
    "inference": "`inference.py`",
    "dpr": "`train_dpr.py`",
    "dense": "`retrieve.py` `DenseRetrieval`",
    "reranker": "`train_reranker.py`",
}

# Writes tokenizer files to a folder; they know the characters of the texts, and the longest row in tokens.
Writer = Callable[[Path, Sequence[str], int | None], None]
# Makes what puts control tokens around the texts that a tokenizer has cut.
Template = Callable[[Tokenizer], processors.PostProcessor | None]


@dataclass(frozen=True)
class Refusal:
    """The sentence that a command ends with, its ``{}`` standing for the checkpoint, and what it means to a user."""

    sentence: str
    plain: str


@dataclass(frozen=True, eq=False)
class Family:
    """A published checkpoint, or several that differ in size alone.

    ``config`` is its ``config.json`` without sizes, ``sizes`` those of the copy; a ``…_token_id`` may be a token.
    ``architecture`` is the class that its weights are of. ``tokenizer`` says what its tokenizer is, ``files`` writes
    that of the copy, and ``pair`` is what becomes of a question and a text. ``fed`` are the inputs of the model.
    ``limit`` is its longest row in tokens, ``tiny_limit`` that of the copy. ``source`` says where all of this is from.
    """

    name: str
    architecture: str
    config: Mapping[str, Any]
    sizes: Mapping[str, Any]
    tokenizer: str
    files: Writer
    pair: str
    segments: str
    fed: tuple[str, ...]
    source: str
    limit: int | None = None
    tiny_limit: int | None = None
    spare_embeddings: int = 0  # beyond those of the tokenizer's tokens
    dtype: torch.dtype = torch.float32
    pooling: str = ""  # and what follows it, of a checkpoint in the format of sentence-transformers
    padding_counts: bool = False  # whether the states of a row depend on the padding behind it
    note: str = ""
    refused: Mapping[str, Refusal] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.name.split(", ")[0].rpartition("/")[2]

    def build(self, folder: Path, texts: Sequence[str]) -> None:
        """Write the copy to ``folder``; its tokenizer knows the characters of ``texts``."""
        folder.mkdir(parents=True)
        self.files(folder, texts, self.tiny_limit)
        ids = _token_ids(folder)
        config = {
            key: ids.get(value, value) if key.endswith("_token_id") else value for key, value in self.config.items()
        }
        config |= self.sizes | {"vocab_size": max(ids.values()) + 1 + self.spare_embeddings}
        if self.limit and self.tiny_limit and "max_position_embeddings" in config:
            config["max_position_embeddings"] -= self.limit - self.tiny_limit
        torch.manual_seed(0)
        model = getattr(transformers, self.architecture)(CONFIG_MAPPING[config.pop("model_type")](**config))
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.2)
        model.to(self.dtype).save_pretrained(folder)
        if self.pooling:
            _write_modules(folder, *self.pooling.split())


# ---------------------------------------------------------------------------------------------------- tokenizer files


def word_piece(
    special: Sequence[str], config: Mapping[str, Any], form: str = "NFC", last: Sequence[str] = ()
) -> Writer:
    """vocab.txt of word pieces: ``special`` tokens, characters in the normal ``form``, ``last`` tokens."""

    def write(folder: Path, texts: Sequence[str], limit: int | None) -> None:
        found = _characters([*texts, *map(str.lower, texts)], form)
        pieces = [*special, *(piece for character in found for piece in (character, f"##{character}")), *last]
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        _write_config(folder, config, limit)

    return write


def with_one_segment(write_vocabulary: Writer) -> Writer:
    """The files of klue/roberta: beside vocab.txt a tokenizer.json, in whose template both texts are of type 0."""

    def write(folder: Path, texts: Sequence[str], limit: int | None) -> None:
        write_vocabulary(folder, texts, limit)
        backend = AutoTokenizer.from_pretrained(folder, tokenizer_type="bert").backend_tokenizer
        backend.post_processor = _template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")(backend)
        backend.save(str(folder / "tokenizer.json"))

    return write


def unigram(
    special: Sequence[str],
    config: Mapping[str, Any],
    template: Template,
    form: str = "NFC",
    last: Sequence[str] = (),
) -> Writer:
    """tokenizer.json of sentence pieces: ``special`` tokens, characters with and without a blank, ``last`` tokens."""

    def write(folder: Path, texts: Sequence[str], limit: int | None) -> None:
        found = _characters(texts, form)
        pieces = ["▁", "▁조선의", "▁1443년에", *found, *(f"▁{character}" for character in found)]
        scores = [(unicodedata.normalize(form, piece), -6.0 + 2.0 * min(len(piece), 2)) for piece in pieces]
        vocabulary = [*((token, 0.0) for token in special), *scores, *((token, 0.0) for token in last)]
        unk_id = next(i for i, token in enumerate(special) if "unk" in token.lower())
        backend = Tokenizer(models.Unigram(vocabulary, unk_id=unk_id))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        backend.decoder = decoders.Metaspace(prepend_scheme="always")
        _write_backend(folder, backend, [*special, *last], template)
        _write_config(folder, config, limit)

    return write


def byte_pairs(
    special: Sequence[str], config: Mapping[str, Any], template: Template, last: Sequence[str] = ()
) -> Writer:
    """tokenizer.json of byte-level BPE: every other character is one token, the rest are bytes."""

    def write(folder: Path, texts: Sequence[str], limit: int | None) -> None:
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        pieces, merges = sorted(level.alphabet()), []
        for character in _characters(texts, "NFC")[::2]:
            whole, *more = level.pre_tokenize_str(character)[0][0]
            for byte in more:
                merges.append((whole, byte))
                pieces.append(whole := whole + byte)
        tokens = dict.fromkeys([*special, *pieces, *last])
        backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        _write_backend(folder, backend, [*special, *last], template)
        _write_config(folder, config, limit)

    return write


def character_pairs(special: Sequence[str], config: Mapping[str, Any]) -> Writer:
    """tokenizer.json of BPE over characters, with nothing around a text."""

    def write(folder: Path, texts: Sequence[str], limit: int | None) -> None:
        found = _characters(texts, "NFC")
        tokens = [*special, "▁", *found, *(f"▁{character}" for character in found)]
        merges = [("▁", character) for character in found]
        backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        backend.decoder = decoders.Metaspace(prepend_scheme="always")
        _write_backend(folder, backend, special, lambda _: None)
        _write_config(folder, config, limit)

    return write


def _template(single: str, pair: str) -> Template:
    def make(backend: Tokenizer) -> processors.PostProcessor:
        tokens = [token for token in dict.fromkeys(pair.replace(":1", "").split()) if not token.startswith("$")]
        ids = [(token, backend.token_to_id(token)) for token in tokens]
        return processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)

    return make


def _roberta_template(backend: Tokenizer) -> processors.PostProcessor:
    sep, cls = ((token, backend.token_to_id(token)) for token in ("</s>", "<s>"))
    return processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)


def _characters(texts: Sequence[str], form: str) -> list[str]:
    return sorted(set(unicodedata.normalize(form, "".join(texts))) - {" "})


def _token_ids(folder: Path) -> dict[str, int]:
    """Return every token in the tokenizer files of ``folder`` with its id."""
    if (folder / "tokenizer.json").exists():
        return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True)
    return {piece: i for i, piece in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())}


def _write_backend(folder: Path, backend: Tokenizer, special: Sequence[str], template: Template) -> None:
    masks = ("<mask>", "[MASK]")  # they take in the blank before them
    backend.add_special_tokens([AddedToken(token, lstrip=token in masks, normalized=False) for token in special])
    if (processor := template(backend)) is not None:
        backend.post_processor = processor
    backend.save(str(folder / "tokenizer.json"))


def _write_config(folder: Path, config: Mapping[str, Any], limit: int | None) -> None:
    if config:
        cut = {"model_max_length": limit} if "model_max_length" in config else {}
        _write_json(folder / "tokenizer_config.json", {**config, **cut})


def _write_modules(folder: Path, pooling: str, *more: str) -> None:
    """Write what sentence-transformers has beside an encoder: its pooling, and the steps behind it."""
    kinds = ["Transformer", "Pooling", *more]
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    names = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "last": "pooling_mode_lasttoken"}
    modes = {name: mode == pooling for mode, name in names.items()}
    (folder / paths[1]).mkdir()
    _write_json(folder / "modules.json", modules)
    _write_json(folder / paths[1] / "config.json", {"word_embedding_dimension": 32, **modes})


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------- refusals

_LINEAR_T5 = Refusal(
    "--head linear: the question answering model of a t5 has no encoder apart from its head; choose another --head, "
    "such as cnn",
    "Transformers' own question answering model of a T5 is encoder and decoder in one. Every other head reads the "
    "encoder alone.",
)
_DENSE_LAYER = Refusal(
    "{} is an encoder of sentence-transformers whose modules.json lists Transformer, Pooling, Dense, Normalize; only a "
    "Transformer in the folder itself, Pooling and Normalize are computed here",
    "Its vectors pass one more dense layer, which is not computed here.",
)
_NO_DECODER = Refusal(
    "--reranker_model {} lacks 28 weights of a t5 of this size: transformer.decoder.block.0.layer.0.SelfAttention.k."
    "weight, transformer.decoder.block.0.layer.0.SelfAttention.o.weight, transformer.decoder.block.0.layer.0."
    "SelfAttention.q.weight, …",
    "A T5 scores pairs with its decoder, and this checkpoint is an encoder alone.",
)
_NO_END = Refusal(
    "{}, a bart, cannot read a question and a text: Each example must contain at least one <eos> token.",
    "A BART scores pairs at the end token, and this tokenizer sets none.",
)
_NO_JIEBA = Refusal(
    "no tokenizer could be loaded from the folder {}: You need to install rjieba to use RoFormerTokenizer. See "
    "https://pypi.org/project/rjieba/ for installation.",
    "Its tokenizer needs another package; with `pip install rjieba` everything works.",
)

# --------------------------------------------------------------------------------------------------------------- rows

_USUAL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_NARROW = _USUAL | {"embedding_size": 16}  # embeddings narrower than the states
_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_KLUE_ROBERTA = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
_CASED, _UNCASED = {"do_lower_case": False}, {"do_lower_case": True}
_BERT_CLASS = {"tokenizer_class": "BertTokenizer"}
_UNTYPED = ("input_ids", "attention_mask")
_TYPED = (*_UNTYPED, "token_type_ids")
_BERT_PAIR, _ROBERTA_PAIR = "[CLS] A [SEP] B [SEP]", "<s> A </s> </s> B </s>"
_BERT_CONFIG = {"model_type": "bert", "max_position_embeddings": 512, "type_vocab_size": 2, "pad_token_id": 0}
_ROBERTA_CONFIG = {
    "model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2, "layer_norm_eps": 1e-5,
}  # fmt: skip
_LIBRARY = "transformers 5"
_NO_SEGMENTS = f"the tokenizer of {_LIBRARY} numbers no segments unless it is asked to, so the model is fed none"
_XLM_R = {
    "special": ["<s>", "<pad>", "</s>", "<unk>"], "last": ["<mask>"],
    "template": _template("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
}  # fmt: skip

FAMILIES = [
    Family(
        name="klue/bert-base", architecture="BertForMaskedLM", config=_BERT_CONFIG, sizes=_USUAL,
        tokenizer="word pieces (BertTokenizer)", files=word_piece(_BERT, _CASED | {"model_max_length": 512}),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=512, tiny_limit=128,
        source="config.json and tokenizer_config.json in commit 8a64da5",
    ),
    Family(
        name="klue/roberta-small, klue/roberta-base, klue/roberta-large", architecture="RobertaForMaskedLM",
        config=_ROBERTA_CONFIG | _BERT_CLASS, sizes=_USUAL, tokenizer="word pieces (BertTokenizer)",
        files=with_one_segment(word_piece(_KLUE_ROBERTA, _CASED | _BERT_CLASS | {
            "bos_token": "[CLS]", "eos_token": "[SEP]", "model_max_length": 512,
        })),
        pair=_BERT_PAIR, segments="1, of 2 that the tokenizer numbers", fed=_UNTYPED, limit=512, tiny_limit=128,
        note=f"tokenizer.json sets type 0 for both texts, but the BertTokenizer of {_LIBRARY} puts its own template in "
        "that one's place, with types 0 and 1",
        source="config.json as in minalang/KoDSE-roberta and BM-K/KoSimCSE-roberta, which are trained from "
        "klue/roberta-base; tokenizer_config.json; template and ids of tokenizer.json in commit 67dd433",
    ),
    Family(
        name="jhgan/ko-sroberta-multitask", architecture="RobertaModel", config=_ROBERTA_CONFIG | _BERT_CLASS,
        sizes=_USUAL, tokenizer="word pieces (BertTokenizer)",
        files=word_piece(_KLUE_ROBERTA, _CASED | _BERT_CLASS | {"model_max_length": 512}), pooling="mean",
        pair=_BERT_PAIR, segments="1, of 2 that the tokenizer numbers", fed=_UNTYPED, limit=512, tiny_limit=128,
        source="config.json as in ej-jo/st_e10, which is trained from it; 1_Pooling/config.json in commit ed3a97b; "
        "tokenizer as of klue/roberta-base, which it is trained from",
    ),
    Family(
        name="monologg/koelectra-base-v3-discriminator", architecture="ElectraForPreTraining",
        config=_BERT_CONFIG | {"model_type": "electra"}, sizes=_USUAL | {"embedding_size": 32},
        tokenizer="word pieces (BertTokenizer)", files=word_piece(_BERT, _CASED | {"model_max_length": 512}),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=512, tiny_limit=128,
        source="config.json as in circulus/koelectra-polite-v1, which is trained from it; tokenizer_config.json in "
        "commit 6305ecb",
    ),
    Family(
        name="monologg/koelectra-small-v3-discriminator", architecture="ElectraForPreTraining",
        config=_BERT_CONFIG | {"model_type": "electra"}, sizes=_NARROW | {"num_attention_heads": 4},
        tokenizer="word pieces (BertTokenizer)", files=word_piece(_BERT, _CASED | {"model_max_length": 512}),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=512, tiny_limit=128,
        note="embeddings of 128 and states of 256",
        source="config.json as in Waynehillsdev/waynehills_sentimental_kor, which is trained from it; "
        "tokenizer_config.json in commit 7488f8d",
    ),
    Family(
        name="monologg/kobigbird-bert-base", architecture="BigBirdForPreTraining",
        config=_BERT_CONFIG | _BERT_CLASS | {
            "model_type": "big_bird", "max_position_embeddings": 4096, "bos_token_id": 5, "eos_token_id": 6,
            "sep_token_id": 3, "attention_type": "block_sparse", "num_random_blocks": 3, "use_bias": True,
            "rescale_embeddings": False,
        },
        sizes=_USUAL | {"block_size": 4}, tokenizer="word pieces (BertTokenizer)",
        files=word_piece([*_BERT, "<s>", "</s>"], _CASED | _BERT_CLASS | {
            "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 4096,
        }),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=4096, tiny_limit=256, padding_counts=True,
        note="a batch of at most 704 tokens is read with full attention, a longer one block by block; so how a text is "
        "read depends on the length of those beside it",
        source="config.json in commit 68b4d7c; tokenizer_config.json as in KJIM/kobigbird-base42-45602195, which is "
        "trained from it",
    ),
    Family(
        name="beomi/kcbert-base", architecture="BertForMaskedLM",
        config=_BERT_CONFIG | {"max_position_embeddings": 300}, sizes=_USUAL, tokenizer="word pieces (BertTokenizer)",
        files=word_piece(_BERT, _CASED | {"model_max_length": 300}),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=300, tiny_limit=75,
        source="config.json as in wisdomify/wisdomify, which is trained from it; tokenizer_config.json in commit "
        "9f5fb07",
    ),
    Family(
        name="kykim/albert-kor-base", architecture="AlbertForMaskedLM",
        config=_BERT_CONFIG | {
            "model_type": "albert", "max_position_embeddings": 256, "bos_token_id": 2, "eos_token_id": 3,
            "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0,
        },
        sizes=_NARROW, tokenizer="word pieces (vocab.txt)",
        files=word_piece(_BERT, _UNCASED | {"strip_accents": False, "model_max_length": 256}),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=256, tiny_limit=64,
        note="it names no tokenizer class, and that of its kind reads no vocab.txt; so that is read with a "
        "BertTokenizer, as its README.md does",
        source="config.json as in the copy smartmind/albert-kor-base-tweak; tokenizer_config.json in commit 891939b; "
        "README.md in commit 04e79bc",
    ),
    Family(
        name="kykim/funnel-kor-base", architecture="FunnelModel",
        config={
            "model_type": "funnel", "type_vocab_size": 3, "attention_type": "relative_shift", "pooling_type": "mean",
            "block_repeats": [1, 1, 1], "pool_q_only": True, "separate_cls": True, "truncate_seq": True,
            "initializer_std": 0.02,
        },
        sizes={
            "block_sizes": [1, 1, 1], "num_decoder_layers": 1, "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64,
        },
        tokenizer="word pieces (FunnelTokenizer)",
        files=word_piece(["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "<s>", "</s>"], _UNCASED | {
            "strip_accents": False, "unk_token": "<unk>", "sep_token": "<sep>", "pad_token": "<pad>",
            "cls_token": "<cls>", "mask_token": "<mask>", "bos_token": "<s>", "eos_token": "</s>",
            "model_max_length": 512,
        }),
        pair="<cls> A <sep> B <sep>", segments="compared, in no table", fed=_UNTYPED, limit=512, tiny_limit=128,
        padding_counts=True,
        note="it averages every two tokens, the last of a text with the padding behind it, so how a text is read "
        f"depends on the length of those beside it; {_NO_SEGMENTS}",
        source="config.json as in jiiyy/funnel, which is trained from it; tokenizer_config.json in commit 6bc460f; "
        "that vocab.txt holds these control tokens is assumed",
    ),
    Family(
        name="microsoft/mdeberta-v3-base", architecture="DebertaV2ForMaskedLM",
        config={
            "model_type": "deberta-v2", "max_position_embeddings": 512, "type_vocab_size": 0,
            "relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
            "pos_att_type": "p2c|c2p", "max_relative_positions": -1, "position_biased_input": False,
        },
        sizes=_USUAL, spare_embeddings=8, tokenizer="sentence pieces (DebertaV2Tokenizer)",
        files=unigram(
            ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], _CASED | {"vocab_type": "spm"},
            _template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"), last=["[MASK]"],
        ),
        pair=_BERT_PAIR, segments="0, of 2 that the tokenizer numbers", fed=_UNTYPED,
        note="it comes with spm.model and without tokenizer.json; what is "
        "saved here has a tokenizer.json",
        source="config.json and tokenizer_config.json in commit 02a9971; the size of its vocabulary as in "
        "GroNLP/mdebertav3-subjectivity-multilingual, which is trained from it",
    ),
    Family(
        name="FacebookAI/xlm-roberta-large", architecture="XLMRobertaForMaskedLM",
        config=_ROBERTA_CONFIG | {"model_type": "xlm-roberta"}, sizes=_USUAL,
        tokenizer="sentence pieces (XLMRobertaTokenizer)", files=unigram(config={}, **_XLM_R),
        pair=_ROBERTA_PAIR, segments="1", fed=_UNTYPED, limit=512, tiny_limit=128,
        source=f"config.json; that there is no tokenizer_config.json, as of xlm-roberta-base: {_LIBRARY}",
    ),
    Family(
        name="BAAI/bge-m3", architecture="XLMRobertaModel",
        config=_ROBERTA_CONFIG | {"model_type": "xlm-roberta", "max_position_embeddings": 8194}, sizes=_USUAL,
        tokenizer="sentence pieces (XLMRobertaTokenizer)",
        files=unigram(config={
            "tokenizer_class": "XLMRobertaTokenizer", "sp_model_kwargs": {}, "model_max_length": 8192,
        }, **_XLM_R),
        pair=_ROBERTA_PAIR, segments="1", fed=_UNTYPED, limit=8192, tiny_limit=320,
        source="onnx/config.json; tokenizer_config.json as in BAAI/bge-reranker-v2-m3",
    ),
    Family(
        name="answerdotai/ModernBERT-base", architecture="ModernBertForMaskedLM",
        config={
            "model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": "[PAD]",
            "cls_token_id": "[CLS]", "bos_token_id": "[CLS]", "sep_token_id": "[SEP]", "eos_token_id": "[SEP]",
            "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
            "classifier_pooling": "mean",
        },
        sizes=_USUAL | {"num_hidden_layers": 4, "local_attention": 16}, spare_embeddings=8,
        tokenizer="byte-level BPE (tokenizer.json)",
        files=byte_pairs([], {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"],
            "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]",
            "mask_token": "[MASK]", "model_max_length": 8192,
        }, _template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"), last=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]),
        pair=_BERT_PAIR, segments="none", fed=_UNTYPED, limit=8192, tiny_limit=320,
        source="config.json as in the copy unsloth/ModernBERT-base; tokenizer_config.json as in "
        "kd13/ModernBERT-base-mlm-wiki-code, which has its tokenizer",
    ),
    Family(
        name="allenai/longformer-base-4096", architecture="LongformerForMaskedLM",
        config=_ROBERTA_CONFIG | {"model_type": "longformer", "max_position_embeddings": 4098, "sep_token_id": 2},
        sizes=_USUAL | {"attention_window": [16, 16]}, tokenizer="byte-level BPE (RobertaTokenizer)",
        files=byte_pairs(["<s>", "<pad>", "</s>", "<unk>"], {}, _roberta_template, last=["<mask>"]),
        pair=_ROBERTA_PAIR, segments="1", fed=(*_UNTYPED, "global_attention_mask"), limit=4096, tiny_limit=256,
        source=f"config.json as in yikuan8/Clinical-Longformer, which is trained from it; tokenizer: {_LIBRARY}",
    ),
    Family(
        name="distilbert/distilbert-base-multilingual-cased", architecture="DistilBertForMaskedLM",
        config={
            "model_type": "distilbert", "max_position_embeddings": 512, "pad_token_id": 0, "qa_dropout": 0.1,
            "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False,
        },
        sizes={"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}, tokenizer="word pieces (BertTokenizer)",
        files=word_piece(_BERT, _CASED),
        pair=_BERT_PAIR, segments="none, of 2 that the tokenizer numbers", fed=_UNTYPED, limit=512, tiny_limit=128,
        source="config.json as in soBeauty/20231008-5-distilbert-base-multilingual-cased-new, which is trained from "
        f"it; tokenizer: {_LIBRARY}",
    ),
    Family(
        name="sentence-transformers/all-mpnet-base-v2", architecture="MPNetForMaskedLM",
        config={
            "model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1, "bos_token_id": 0,
            "eos_token_id": 2, "relative_attention_num_buckets": 32, "layer_norm_eps": 1e-5,
        },
        sizes=_USUAL, tokenizer="word pieces (MPNetTokenizer)", pooling="mean Normalize",
        files=word_piece(["<s>", "<pad>", "</s>", "[UNK]"], _UNCASED, form="NFD", last=["<mask>"]),
        pair=_ROBERTA_PAIR, segments="none", fed=_UNTYPED, limit=512, tiny_limit=128,
        note="its tokenizer takes Korean syllables apart",
        source=f"config.json as in the copy diptanuc/all-mpnet-base-v2; tokenizer: {_LIBRARY}",
    ),
    Family(
        name="xlnet/xlnet-base-cased", architecture="XLNetLMHeadModel",
        config={
            "model_type": "xlnet", "attn_type": "bi", "mem_len": None, "reuse_len": None, "same_length": False,
            "clamp_len": -1, "bi_data": False, "summary_type": "last", "summary_activation": "tanh", "untie_r": True,
            "pad_token_id": "<pad>",
        },
        sizes={"d_model": 32, "n_layer": 2, "n_head": 2, "d_head": 16, "d_inner": 64},
        tokenizer="sentence pieces, padded on the left (XLNetTokenizer)",
        files=unigram(
            ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"], {},
            _template("$A <sep> <cls>", "$A <sep> $B:1 <sep>:1 <cls>"), form="NFKD",
        ),
        pair="A <sep> B <sep> <cls>", segments="compared, in no table", fed=_UNTYPED,
        note=f"its tokenizer takes Korean syllables apart; {_NO_SEGMENTS}",
        source=f"config.json as in dingli/xlnet_nlp_smartdispatch, which is trained from it; tokenizer: {_LIBRARY}",
    ),
    Family(
        name="junnyu/roformer_chinese_char_small", architecture="RoFormerForMaskedLM",
        config=_BERT_CONFIG | {"model_type": "roformer", "rotary_value": False}, sizes=_USUAL | {"embedding_size": 32},
        tokenizer="word pieces (BertTokenizer)",
        files=word_piece(_BERT, _UNCASED | _BERT_CLASS | {"strip_accents": None}, form="NFD"),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=512, tiny_limit=128,
        note="its tokenizer takes Korean syllables apart",
        source="config.json in commit 05197ca; tokenizer_config.json in commit 3b8c250",
    ),
    Family(
        name="junnyu/roformer_chinese_base", architecture="RoFormerForMaskedLM",
        config=_BERT_CONFIG | {"model_type": "roformer", "max_position_embeddings": 1536},
        sizes=_USUAL | {"embedding_size": 32}, tokenizer="words of Jieba, then word pieces (RoFormerTokenizer)",
        files=word_piece(_BERT, _UNCASED | {
            "tokenizer_class": "RoFormerTokenizer", "strip_accents": None, "model_max_length": 1536,
        }, form="NFD"),
        pair=_BERT_PAIR, segments="2", fed=_TYPED, limit=1536, tiny_limit=128,
        refused=dict.fromkeys(COMMANDS, _NO_JIEBA),
        source="config.json in commit aab34c5; tokenizer_config.json in commit e4b0463",
    ),
    Family(
        name="gogamza/kobart-base-v2", architecture="BartModel",
        config={
            "model_type": "bart", "max_position_embeddings": 1026, "pad_token_id": 3, "bos_token_id": 1,
            "eos_token_id": 1, "decoder_start_token_id": 1, "forced_eos_token_id": 1, "classifier_dropout": 0.1,
            "scale_embedding": False, "tokenizer_class": "PreTrainedTokenizerFast",
        },
        sizes={
            "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
        },
        tokenizer="BPE of characters (tokenizer.json)",
        files=character_pairs(["<s>", "</s>", "<usr>", "<pad>", "<sys>", "<unk>", "<mask>"], {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "</s>", "eos_token": "</s>",
            "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
        }),
        pair="A B", segments="none", fed=_UNTYPED, limit=1026, tiny_limit=130, refused={"reranker": _NO_END},
        note="nothing stands between question and text, and where there is no answer a reader points at the first "
        "token of the question",
        source="config.json as in madatnlp/gamza-bart-for-kormath, which is trained from it; special_tokens_map.json "
        "as in circulus/kobart-trans-informal-v2; that no token is added to a text: README.md of SKT-AI/KoBART; ids "
        "other than that of padding are ours",
    ),
    Family(
        name="paust/pko-t5-base", architecture="T5ForConditionalGeneration",
        config={
            "model_type": "t5", "feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
            "is_encoder_decoder": True, "tie_word_embeddings": False,
        },
        sizes={"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2},
        spare_embeddings=8, tokenizer="byte-level BPE (tokenizer.json)",
        files=byte_pairs(["<pad>", "</s>"], {
            "tokenizer_class": "T5TokenizerFast", "eos_token": "</s>", "unk_token": "<pad>", "pad_token": "<pad>",
        }, _template("$A </s>", "$A </s> $B </s>")),
        pair="A </s> B </s>", segments="none", fed=_UNTYPED, refused={"linear": _LINEAR_T5},
        note="the tokenizer class that it names is for sentence pieces, so tokenizer.json is taken as it is",
        source="config.json as in du-kang/custom1-3, which is trained from it; special_tokens_map.json in commit "
        "6d16c5c; README.md of paust-team/pko-t5 (byte-level BPE in a T5TokenizerFast)",
    ),
    Family(
        name="sentence-transformers/sentence-t5-base", architecture="T5EncoderModel", dtype=torch.float16,
        config={
            "model_type": "t5", "feed_forward_proj": "relu", "relative_attention_num_buckets": 32, "pad_token_id": 0,
            "eos_token_id": 1, "decoder_start_token_id": 0, "is_encoder_decoder": True,
        },
        sizes={"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}, spare_embeddings=8,
        tokenizer="sentence pieces (T5Tokenizer)", pooling="mean Dense Normalize",
        files=unigram(["<pad>", "</s>", "<unk>"], {
            "tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
            "extra_ids": 100, "additional_special_tokens": [f"<extra_id_{number}>" for number in range(100)],
        }, _template("$A </s>", "$A </s> $B </s>"), last=[f"<extra_id_{99 - number}>" for number in range(100)]),
        pair="A </s> B </s>", segments="none", fed=_UNTYPED,
        refused={"linear": _LINEAR_T5, "dpr": _DENSE_LAYER, "dense": _DENSE_LAYER, "reranker": _NO_DECODER},
        source="README.md (the encoder of a T5-base, in fp16); 1_Pooling/config.json and 2_Dense/config.json in commit "
        f"86e4ec2; the rest: {_LIBRARY}",
    ),
]  # fmt: skip


# ------------------------------------------------------------------------------------------------------ for retrieval


@dataclass(frozen=True, eq=False)
class Embedder:
    """A published encoder for retrieval: whose copy stands for it, and what its files say of a text's vector.

    ``steps`` are those of sentence-transformers, ``prompts`` and ``max_len`` as its files say, ``flags`` what they do
    not say. ``source`` says where all of this is from.
    """

    name: str
    family: Family
    steps: str
    max_len: int
    source: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.name.split(", ")[0].rpartition("/")[2]

    def build(self, folder: Path, texts: Sequence[str]) -> None:
        """Write the copy to ``folder`` as sentence-transformers would; its tokenizer knows the ``texts``."""
        replace(self.family, pooling=self.steps).build(folder, texts)
        _write_json(folder / "sentence_bert_config.json", {"max_seq_length": self.max_len, "do_lower_case": False})
        if self.prompts:
            config = {"prompts": self.prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
            _write_json(folder / "config_sentence_transformers.json", config)


_OF = {family.id: family for family in FAMILIES}
_XLM_R_LARGE, _M3 = (replace(_OF[name], tiny_limit=None) for name in ("xlm-roberta-large", "bge-m3"))
_QWEN3 = Family(
    name="Qwen/Qwen3-Embedding-0.6B", architecture="Qwen3Model",
    config={"model_type": "qwen3", "max_position_embeddings": 32768, "rope_theta": 1000000, "head_dim": 16},
    sizes=_USUAL | {"num_key_value_heads": 1}, tokenizer="byte-level BPE (tokenizer.json)",
    files=byte_pairs(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], {
        "tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "left", "pad_token": "<|endoftext|>",
        "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>",
    }, _template("$A <|endoftext|>", "$A $B <|endoftext|>")),
    pair="A B <|endoftext|>", segments="none", fed=_UNTYPED, dtype=torch.bfloat16, source="",
)  # fmt: skip
_AX = replace(
    _OF["ModernBERT-base"],
    limit=16384,
    tiny_limit=16384,
    config={**_OF["ModernBERT-base"].config, "max_position_embeddings": 16384},
)
_E5_PREFIXES = {"question_prefix": "query: ", "passage_prefix": "passage: "}
_QUERY = {"query": "query: "}
EMBEDDERS = [
    Embedder(
        name="intfloat/multilingual-e5-small, intfloat/multilingual-e5-base, intfloat/multilingual-e5-large",
        family=_XLM_R_LARGE, steps="mean Normalize", max_len=512, flags=_E5_PREFIXES,
        source="README.md: prefixes are part of the texts in its examples",
    ),
    Embedder(
        name="nlpai-lab/KoE5", family=_XLM_R_LARGE, steps="mean Normalize", max_len=512, flags=_E5_PREFIXES,
        source="README.md: 512 tokens, trained from multilingual-e5-large, prefixes are part of the texts in its "
        "example; steps as of multilingual-e5-large",
    ),
    Embedder(
        name="BAAI/bge-m3", family=_M3, steps="cls Normalize", max_len=8192, source="README.md: 8192 tokens, no prompts"
    ),
    Embedder(
        name="nlpai-lab/KURE-v1", family=_M3, steps="cls Normalize", max_len=8192,
        source="README.md: trained from bge-m3, 8192 tokens, no prompts in its example",
    ),
    Embedder(
        name="dragonkue/snowflake-arctic-embed-l-v2.0-ko", family=_M3, steps="cls Normalize", max_len=8192,
        prompts=_QUERY, source="README.md: the steps, 8192 tokens, cosine, a prompt for questions only",
    ),
    Embedder(
        name="Qwen/Qwen3-Embedding-0.6B", family=_QWEN3, steps="last Normalize", max_len=32768,
        prompts={
            "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
            "document": "",
        },
        source="README.md: last token, padding on the left, the instruction, any number of dimensions from 32 on",
    ),
    Embedder(
        name="skt/A.X-Encoder-base", family=_AX, steps="mean Normalize", max_len=16384,
        source="README.md: ModernBERT, 16,384 tokens; the steps are ours, as it comes without any, and the tokenizer "
        "of ModernBERT stands for its own",
    ),
    Embedder(
        name="jhgan/ko-sroberta-multitask", family=_OF["ko-sroberta-multitask"], steps="mean", max_len=128,
        source="README.md: the steps, 128 tokens; nothing says how vectors are compared, so it is by cosine",
    ),
]  # fmt: skip

# ----------------------------------------------------------------------------------------------------------- the page


def document() -> str:
    """Return docs/encoders.md."""
    reasons = list(dict.fromkeys(refusal.plain for family in FAMILIES for refusal in family.refused.values()))
    outcomes = [[_names(family), *(_outcome(family, command, reasons) for command in COMMANDS)] for family in FAMILIES]
    facts = [
        [
            _names(family),
            family.architecture,
            family.tokenizer,
            f"`{family.pair}`",
            family.segments,
            f"{family.limit:,}" if family.limit else "any",
            ", ".join(f"`{name}`" for name in family.fed),
        ]
        for family in FAMILIES
    ]
    embedders = [
        [
            _names(embedder),
            embedder.steps.split()[0],
            ", ".join(f"{key} `{text!r}`" for key, text in embedder.prompts.items() if text) or "none",
            f"{embedder.max_len:,}",
            " ".join(f"`--{key} {text!r}`" for key, text in embedder.flags.items()) or "none",
        ]
        for embedder in EMBEDDERS
    ]
    embedder_columns = ["checkpoint", "pooling", "prompts in its files", "longest text", "flags to give"]
    columns = ["checkpoint", "weights", "tokenizer", "question A and text B", "segments", "longest row", "is fed"]
    return f"""# Encoders

**English** | [한국어](ko/encoders.md)

Published checkpoints, and what becomes of them here. Each was tried as a tiny copy: configuration, tokenizer files and
architecture as published; layers, widths, vocabulary and positions cut; random weights. `tests/test_families.py` runs
every command on every copy and holds the outcome against this page, which is written by

```bash
python -m tests.families
```

## Outcomes

{_table(["checkpoint", *COMMANDS.values()], outcomes)}

`inference.py` answers with the readers that `train_mrc.py` has saved. What is refused is refused in one sentence:

{_list([f"({number}) {reason}" for number, reason in enumerate(reasons, start=1)])}

## Facts

A model is fed what its tokenizer gives, its forward takes and its embeddings can hold. Text never becomes a control
token, even where it spells one. Rows above the longest (`--max_seq_len`, `--passage_max_len`, `--reranker_max_len`, …)
are refused.

{_table(columns, facts)}

{_list([f"{_names(family)}: {family.note}." for family in FAMILIES if family.note])}

## Encoders for retrieval

How a text becomes a vector is read from the checkpoint (`modules.json`, `config_sentence_transformers.json`,
`1_Pooling/config.json`, `sentence_bert_config.json`, `tokenizer_config.json`, or our `encoder.json`) and kept in the
manifest of an index; an index made otherwise is refused. A tiny copy of each of these gives the vectors that
sentence-transformers gives. All are compared by cosine. A prompt that its files do not hold has to be given as a flag.

{_table(embedder_columns, embedders)}

Texts, prompts included, are cut at `--question_max_len` 64 and `--passage_max_len` 256 tokens unless more is asked for.
`--dimensions 256` keeps the first 256 numbers of a vector and scales them to length 1 again, for encoders that were
trained for that (Matryoshka), such as Qwen3-Embedding and snowflake-arctic-embed. A decoder without files of
sentence-transformers becomes an encoder by `--pooling last --append_eos true`. An instruction is a prefix:
`--question_prefix $'Instruct: …\\nQuery:'`.

## Where the facts are from

Files are the checkpoint's own on the Hugging Face Hub unless another one is named; "{_LIBRARY}" is the library, for
what a checkpoint leaves to its defaults.

{_list([f"{_names(row)}: {row.source}." for row in FAMILIES])}

Of encoders for retrieval:

{_list([f"{_names(row)}: {row.source}." for row in EMBEDDERS])}
"""


def _names(family: Family | Embedder) -> str:
    return ", ".join(f"`{name}`" for name in family.name.split(", "))


def _outcome(family: Family, command: str, reasons: Sequence[str]) -> str:
    refusal = family.refused.get(command)
    return f"no ({reasons.index(refusal.plain) + 1})" if refusal else "yes"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
