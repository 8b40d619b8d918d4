"""Encoders that the Korean community uses, one row a published checkpoint: its facts, a tiny copy of it, what we do with it.

A copy has the configuration, tokenizer files and architecture of the original. Only sizes are cut: layers, widths,
vocabulary, positions; its weights are random, as large as trained ones. tests/test_families.py runs every command on
every row; docs/encoders.md is made of the same rows:

    python -m tests.families
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, AutoTokenizer

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "encoders.md"
COMMANDS = {
    "linear": "`train_mrc.py`, linear head",
    "cnn_sds": "`train_mrc.py`, `cnn_sds` head",
    "v2": "`train_mrc_v2.py`",
    "dpr": "`train_dpr.py`",
    "reranker": "`train_reranker.py`",
    "inference": "`inference.py`",
    "dense": "`DenseRetrieval`",
}
READING = ("linear", "cnn_sds", "v2", "inference")

_USUAL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_NARROW = _USUAL | {"embedding_size": 16}  # embeddings narrower than the states
# From the transformers library: the control tokens of these tokenizer classes, by what they are for.
_BERT_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}

Writer = Callable[[Path, Sequence[str]], None]


@dataclass(frozen=True)
class Refusal:
    """A sentence that a command ends with, its ``{}`` standing for the folder, and what it means to a user."""

    sentence: str
    plain: str


@dataclass(frozen=True, eq=False)
class Family:
    """A published checkpoint.

    ``config`` is its ``config.json`` without sizes, ``sizes`` those of the copy; a ``…_token_id`` may be a token.
    ``architecture`` is the class that its weights are of, ``write_tokenizer`` writes the tokenizer files of the copy for
    the given texts, and ``tokenizer`` says what they are. ``template`` is what becomes of a question and a text.
    ``limit`` is the longest row in tokens as published, ``tiny_limit`` of the copy. ``source`` says where all of this
    is from; ``transformers`` there is the library, for what the published files leave to its defaults.
    """

    name: str
    config: Mapping[str, Any]
    architecture: str
    sizes: Mapping[str, Any]
    tokenizer: str
    write_tokenizer: Writer
    template: str
    segments: str
    fed: tuple[str, ...]
    source: str
    limit: int | None = None
    tiny_limit: int | None = None
    spare_embeddings: int = 0
    dtype: torch.dtype = torch.float32
    pooling: str = ""  # of a checkpoint in the format of sentence-transformers
    padding_counts: str = ""  # why a row's states depend on the padding behind it
    refused: Mapping[str, Refusal] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.name.split(", ")[0].rpartition("/")[2]

    def build(self, folder: Path, texts: Sequence[str]) -> None:
        """Write the copy to ``folder``; its tokenizer knows the characters of ``texts``."""
        folder.mkdir(parents=True)
        self.write_tokenizer(folder, texts)
        ids = _token_ids(folder)
        given = {
            key: ids[value] if key.endswith("_token_id") and value in ids else value
            for key, value in self.config.items()
        }
        sizes = dict(self.sizes) | {"vocab_size": max(ids.values()) + 1 + self.spare_embeddings}
        if self.limit and (table := self.config.get("max_position_embeddings")):
            sizes["max_position_embeddings"] = table - self.limit + self.tiny_limit
        config = CONFIG_MAPPING[given.pop("model_type")](**given | sizes)
        torch.manual_seed(0)
        model = getattr(transformers, self.architecture)(config)
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.2)
        model.to(self.dtype).save_pretrained(folder)
        if self.pooling:
            _write_sentence_transformers(folder, self.pooling)


# ---------------------------------------------------------------------------------------------------- tokenizer files


def _token_ids(folder: Path) -> dict[str, int]:
    """Return every token in the tokenizer files of ``folder`` with its id."""
    if (folder / "tokenizer.json").exists():
        return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True)
    if (folder / "vocab.txt").exists():
        return {piece: i for i, piece in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    return AutoTokenizer.from_pretrained(folder).get_vocab()


def _characters(texts: Sequence[str], form: str) -> list[str]:
    return sorted(set(unicodedata.normalize(form, "".join(texts))) - {" "})


def _write(folder: Path, **contents: Any) -> None:
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def word_piece(
    special: Sequence[str], config: Mapping[str, Any], form: str = "NFC", last: Sequence[str] = ()
) -> Writer:
    """vocab.txt of word pieces, one a character, after ``special`` tokens and before ``last`` ones."""

    def write(folder: Path, texts: Sequence[str]) -> None:
        found = _characters([text for pair in zip(texts, map(str.lower, texts), strict=True) for text in pair], form)
        pieces = [*special, *(piece for character in found for piece in (character, f"##{character}")), *last]
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        _write(folder, tokenizer_config=config)

    return write


def unigram(
    special: Sequence[str],
    config: Mapping[str, Any],
    template: Any,
    form: str = "NFC",
    last: Sequence[str] = (),
    unk_id: int = 3,
) -> Writer:
    """tokenizer.json of sentence pieces: ``special`` tokens, characters with and without a blank, ``last`` tokens."""

    def write(folder: Path, texts: Sequence[str]) -> None:
        found = _characters(texts, form)
        pieces = [
            "▁",
            "▁조선의",
            "▁1443년에",
            *(piece for character in found for piece in (character, f"▁{character}")),
        ]
        pieces = [unicodedata.normalize(form, piece) for piece in pieces]
        scores = [(piece, -2.0 - 0.01 * i - 4.0 * (len(piece) == 1)) for i, piece in enumerate(dict.fromkeys(pieces))]
        vocabulary = [*((token, 0.0) for token in special), *scores, *((token, 0.0) for token in last)]
        backend = Tokenizer(models.Unigram(vocabulary, unk_id=unk_id))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        backend.decoder = decoders.Metaspace(prepend_scheme="always")
        _save(backend, folder, [*special, *last], template, config)

    return write


def byte_pairs(
    special: Sequence[str],
    config: Mapping[str, Any],
    template: Any,
    last: Sequence[str] = (),
    byte_level: bool = True,
    unk: str | None = None,
) -> Writer:
    """tokenizer.json of byte-level BPE, every other character one token and the rest bytes; else of characters."""

    def write(folder: Path, texts: Sequence[str]) -> None:
        found, merges = _characters(texts, "NFC"), []
        if byte_level:
            level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            pieces = sorted(level.alphabet())
            for character in found[::2]:
                whole, *more = level.pre_tokenize_str(character)[0][0]
                for byte in more:
                    merges.append((whole, byte))
                    whole += byte
                    pieces.append(whole)
            backend_cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
        else:
            pieces = ["▁", *found, *(f"▁{character}" for character in found)]
            merges = [("▁", character) for character in found]
            backend_cut = pre_tokenizers.Metaspace(prepend_scheme="always")
        tokens = list(dict.fromkeys([*special, *pieces, *last]))
        backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges, unk_token=unk))
        backend.pre_tokenizer = backend_cut
        backend.decoder = decoders.ByteLevel() if byte_level else decoders.Metaspace()
        _save(backend, folder, [*special, *last], template, config)

    return write


def _save(backend: Tokenizer, folder: Path, special: Sequence[str], template: Any, config: Mapping[str, Any]) -> None:
    added = [AddedToken(token, lstrip="ask" in token.lower(), normalized=False) for token in special]
    backend.add_special_tokens(added)
    if callable(template):
        backend.post_processor = template(backend)
    elif template:
        single, pair = template
        used = [(token, backend.token_to_id(token)) for token in special if token in pair.replace(":1", "").split()]
        backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)
    backend.save(str(folder / "tokenizer.json"))
    if config:
        _write(folder, tokenizer_config=config)


def _roberta_template(backend: Tokenizer) -> processors.PostProcessor:
    sep, cls = (("</s>", backend.token_to_id("</s>")), ("<s>", backend.token_to_id("<s>")))
    return processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)


def with_fast_tokenizer(write_vocabulary: Writer) -> Writer:
    """The files of klue/roberta: beside vocab.txt a tokenizer.json, in whose template both texts are of type 0."""

    def write(folder: Path, texts: Sequence[str]) -> None:
        write_vocabulary(folder, texts)
        backend = AutoTokenizer.from_pretrained(folder, tokenizer_type="bert").backend_tokenizer
        used = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=used
        )
        backend.save(str(folder / "tokenizer.json"))

    return write


def _write_sentence_transformers(folder: Path, steps: str) -> None:
    """``modules.json`` and the pooling of an encoder that sentence-transformers published, such as "mean Normalize"."""
    pooling, *more = steps.split()
    kinds = ["Transformer", "Pooling", *more]
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    _write(folder, modules=[
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ])  # fmt: skip
    (folder / paths[1]).mkdir()
    modes = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    _write(folder / paths[1], config={"word_embedding_dimension": 32, **modes})


# ------------------------------------------------------------------------------------------------------------- the rows

_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_KLUE_ROBERTA = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
_XLM_R = ["<s>", "<pad>", "</s>", "<unk>"]
_CASED = {"do_lower_case": False}
_BERT_PAIR = "[CLS] A [SEP] B [SEP]"
_ROBERTA_PAIR = "<s> A </s> </s> B </s>"
_TYPED = ("input_ids", "attention_mask", "token_type_ids")
_UNTYPED = ("input_ids", "attention_mask")
_TRANSFORMERS = "transformers 5"
_LINEAR_T5 = Refusal(
    "--head linear: the question answering model of a t5 has no encoder apart from its head; choose another --head, "
    "such as cnn",
    "The question answering model that Transformers has of a T5 reads encoder and decoder as one; every other head "
    "reads its encoder.",
)
_DENSE_LAYER = Refusal(
    "{} is an encoder of sentence-transformers whose modules.json lists Transformer, Pooling, Dense, Normalize; only a "
    "Transformer in the folder itself, Pooling and Normalize are computed here",
    "Its vectors go through one more dense layer, which is not computed here.",
)
_NO_DECODER = Refusal(
    "--reranker_model {} lacks 28 weights of a t5 of this size: transformer.decoder.block.0.layer.0.SelfAttention.k."
    "weight, transformer.decoder.block.0.layer.0.SelfAttention.o.weight, transformer.decoder.block.0.layer.0."
    "SelfAttention.q.weight, …",
    "A T5 scores pairs with its decoder, and this checkpoint is an encoder alone.",
)
_NO_END = Refusal(
    "{}, a bart, cannot read a question and a text: Each example must contain at least one <eos> token.",
    "A BART scores pairs where the text ends, and this tokenizer puts no end token there.",
)
_NO_JIEBA = Refusal(
    "no tokenizer could be loaded from the folder {}: You need to install rjieba to use RoFormerTokenizer. See "
    "https://pypi.org/project/rjieba/ for installation.",
    "Its tokenizer needs the package rjieba: `pip install rjieba`, and everything works.",
)


FAMILIES = [
    Family(
        "klue/bert-base",
        {"model_type": "bert", "max_position_embeddings": 512, "type_vocab_size": 2, "pad_token_id": 0},
        "BertForMaskedLM",
        _USUAL,
        "word pieces (BertTokenizer)",
        word_piece(_BERT, _CASED | {"model_max_length": 128}),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json, tokenizer_config.json",
        limit=512,
        tiny_limit=128,
    ),
    Family(
        "klue/roberta-small, klue/roberta-base, klue/roberta-large",
        {
            "model_type": "roberta",
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "layer_norm_eps": 1e-5,
            "tokenizer_class": "BertTokenizer",
        },
        "RobertaForMaskedLM",
        _USUAL,
        "word pieces (BertTokenizer)",
        with_fast_tokenizer(
            word_piece(
                _KLUE_ROBERTA,
                _CASED
                | {
                    "bos_token": "[CLS]",
                    "eos_token": "[SEP]",
                    "model_max_length": 128,
                    "tokenizer_class": "BertTokenizer",
                },
            )
        ),
        _BERT_PAIR,
        "1, though the tokenizer numbers 2",
        _UNTYPED,
        "config.json as in BM-K/KoSimCSE-roberta, which is trained from it; tokenizer_config.json; ids and template of "
        "tokenizer.json in commit 67dd433, which transformers 5 replaces by those of its BertTokenizer",
        limit=512,
        tiny_limit=128,
    ),
    Family(
        "jhgan/ko-sroberta-multitask",
        {
            "model_type": "roberta",
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "layer_norm_eps": 1e-5,
            "tokenizer_class": "BertTokenizer",
        },
        "RobertaModel",
        _USUAL,
        "word pieces (BertTokenizer)",
        word_piece(_KLUE_ROBERTA, _CASED | {"model_max_length": 128, "tokenizer_class": "BertTokenizer"}),
        _BERT_PAIR,
        "1, though the tokenizer numbers 2",
        _UNTYPED,
        "config.json as in ej-jo/st_e10, which is trained from it; 1_Pooling/config.json and the list of files in "
        "commit ed3a97b; vocabulary of klue/roberta-base",
        limit=512,
        tiny_limit=128,
        pooling="mean",
    ),
    Family(
        "monologg/koelectra-base-v3-discriminator",
        {"model_type": "electra", "max_position_embeddings": 512, "type_vocab_size": 2, "pad_token_id": 0},
        "ElectraForPreTraining",
        _USUAL | {"embedding_size": 32},
        "word pieces (BertTokenizer)",
        word_piece(_BERT, _CASED | {"model_max_length": 128}),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json as in circulus/koelectra-polite-v1, which is trained from it; tokenizer_config.json",
        limit=512,
        tiny_limit=128,
    ),
    Family(
        "monologg/koelectra-small-v3-discriminator",
        {"model_type": "electra", "max_position_embeddings": 512, "type_vocab_size": 2, "pad_token_id": 0},
        "ElectraForPreTraining",
        _NARROW | {"num_attention_heads": 4},
        "word pieces (BertTokenizer)",
        word_piece(_BERT, _CASED | {"model_max_length": 128}),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json as in Waynehillsdev/waynehills_sentimental_kor, which is trained from it (embeddings of 128, "
        "states of 256); tokenizer_config.json",
        limit=512,
        tiny_limit=128,
    ),
    Family(
        "monologg/kobigbird-bert-base",
        {
            "model_type": "big_bird",
            "max_position_embeddings": 4096,
            "type_vocab_size": 2,
            "pad_token_id": 0,
            "bos_token_id": 5,
            "eos_token_id": 6,
            "sep_token_id": 3,
            "attention_type": "block_sparse",
            "num_random_blocks": 3,
            "use_bias": True,
            "rescale_embeddings": False,
            "tokenizer_class": "BertTokenizer",
        },
        "BigBirdForPreTraining",
        _USUAL | {"block_size": 4},
        "word pieces (BertTokenizer)",
        word_piece(
            [*_BERT, "<s>", "</s>"],
            _CASED
            | {
                "bos_token": "<s>",
                "eos_token": "</s>",
                "model_max_length": 256,
                "tokenizer_class": "BertTokenizer",
            },
        ),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json in commit 68b4d7c; tokenizer_config.json as in KJIM/kobigbird-base42-45602195, which is trained "
        "from it",
        limit=4096,
        tiny_limit=256,
        padding_counts="its blocks, and whether there are any, follow the padded length",
    ),
    Family(
        "beomi/kcbert-base",
        {"model_type": "bert", "max_position_embeddings": 300, "type_vocab_size": 2, "pad_token_id": 0},
        "BertForMaskedLM",
        _USUAL,
        "word pieces (BertTokenizer)",
        word_piece(_BERT, _CASED | {"model_max_length": 75}),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json as in wisdomify/wisdomify, which is trained from it; tokenizer_config.json in commit 9f5fb07",
        limit=300,
        tiny_limit=75,
    ),
    Family(
        "kykim/albert-kor-base",
        {
            "model_type": "albert",
            "max_position_embeddings": 256,
            "type_vocab_size": 2,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "hidden_dropout_prob": 0,
            "attention_probs_dropout_prob": 0,
        },
        "AlbertForMaskedLM",
        _NARROW,
        "word pieces (vocab.txt alone)",
        word_piece(_BERT, {"do_lower_case": True, "strip_accents": False, "model_max_length": 64}),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json as in smartmind/albert-kor-base-tweak, a copy of it; tokenizer_config.json in commit 891939b; "
        "README.md, which opens vocab.txt with BertTokenizerFast",
        limit=256,
        tiny_limit=64,
    ),
    Family(
        "kykim/funnel-kor-base",
        {
            "model_type": "funnel",
            "type_vocab_size": 3,
            "attention_type": "relative_shift",
            "pooling_type": "mean",
            "pool_q_only": True,
            "separate_cls": True,
            "truncate_seq": True,
            "initializer_std": 0.02,
            "block_repeats": [1, 1, 1],
        },
        "FunnelModel",
        {"block_sizes": [1, 1, 1], "num_decoder_layers": 1, "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64},
        "word pieces (FunnelTokenizer)",
        word_piece(
            ["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "<s>", "</s>"],
            {
                "do_lower_case": True,
                "strip_accents": False,
                "unk_token": "<unk>",
                "sep_token": "<sep>",
                "pad_token": "<pad>",
                "cls_token": "<cls>",
                "mask_token": "<mask>",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "model_max_length": 128,
            },
        ),
        "<cls> A <sep> B <sep>",
        "no table; compares them",
        _UNTYPED,
        "config.json as in jiiyy/funnel, which is trained from it; tokenizer_config.json in commit 6bc460f; that its "
        "vocab.txt holds these control tokens is assumed",
        limit=512,
        tiny_limit=128,
        padding_counts="it averages each two tokens, the last one with the padding behind it",
    ),
    Family(
        "microsoft/mdeberta-v3-base",
        {
            "model_type": "deberta-v2",
            "max_position_embeddings": 512,
            "type_vocab_size": 0,
            "pad_token_id": 0,
            "relative_attention": True,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": "p2c|c2p",
            "max_relative_positions": -1,
            "position_biased_input": False,
        },
        "DebertaV2ForMaskedLM",
        _USUAL,
        "sentence pieces (DebertaV2Tokenizer)",
        unigram(
            ["[PAD]", "[CLS]", "[SEP]", "[UNK]"],
            _CASED | {"vocab_type": "spm"},
            ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
            last=["[MASK]"],
        ),
        _BERT_PAIR,
        "0, though the tokenizer numbers 2",
        _UNTYPED,
        "config.json, tokenizer_config.json; embeddings for more tokens than the tokenizer has, as the copies "
        "GroNLP/mdebertav3-subjectivity-multilingual and …-english show; published without tokenizer.json (see below)",
        spare_embeddings=8,
    ),
    Family(
        "FacebookAI/xlm-roberta-large",
        {
            "model_type": "xlm-roberta",
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "layer_norm_eps": 1e-5,
        },
        "XLMRobertaForMaskedLM",
        _USUAL,
        "sentence pieces (XLMRobertaTokenizer)",
        unigram(_XLM_R, {}, ("<s> $A </s>", "<s> $A </s> </s> $B </s>"), last=["<mask>"]),
        _ROBERTA_PAIR,
        "1",
        _UNTYPED,
        f"config.json; that there is no tokenizer_config.json, and so no length in it: {_TRANSFORMERS}",
        limit=512,
        tiny_limit=128,
    ),
    Family(
        "BAAI/bge-m3",
        {
            "model_type": "xlm-roberta",
            "max_position_embeddings": 8194,
            "type_vocab_size": 1,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "layer_norm_eps": 1e-5,
        },
        "XLMRobertaModel",
        _USUAL,
        "sentence pieces (XLMRobertaTokenizer)",
        unigram(
            _XLM_R,
            {"model_max_length": 320, "tokenizer_class": "XLMRobertaTokenizer", "sp_model_kwargs": {}},
            ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
            last=["<mask>"],
        ),
        _ROBERTA_PAIR,
        "1",
        _UNTYPED,
        "onnx/config.json; tokenizer_config.json as in BAAI/bge-reranker-v2-m3",
        limit=8192,
        tiny_limit=320,
    ),
    Family(
        "answerdotai/ModernBERT-base",
        {
            "model_type": "modernbert",
            "max_position_embeddings": 8192,
            "pad_token_id": "[PAD]",
            "cls_token_id": "[CLS]",
            "bos_token_id": "[CLS]",
            "sep_token_id": "[SEP]",
            "eos_token_id": "[SEP]",
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "classifier_pooling": "mean",
        },
        "ModernBertForMaskedLM",
        _USUAL | {"num_hidden_layers": 4, "local_attention": 16},
        "byte-level BPE (tokenizer.json as it is)",
        byte_pairs(
            [],
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_input_names": ["input_ids", "attention_mask"],
                "model_max_length": 320,
                "unk_token": "[UNK]",
                "sep_token": "[SEP]",
                "pad_token": "[PAD]",
                "cls_token": "[CLS]",
                "mask_token": "[MASK]",
            },
            ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"),
            last=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"],
        ),
        _BERT_PAIR,
        "none",
        _UNTYPED,
        "config.json as in the copy unsloth/ModernBERT-base; tokenizer_config.json as in "
        "kd13/ModernBERT-base-mlm-wiki-code, which has its tokenizer; control tokens stand last, as their ids say",
        limit=8192,
        tiny_limit=320,
        spare_embeddings=8,
    ),
    Family(
        "allenai/longformer-base-4096",
        {
            "model_type": "longformer",
            "max_position_embeddings": 4098,
            "type_vocab_size": 1,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "sep_token_id": 2,
            "layer_norm_eps": 1e-5,
        },
        "LongformerForMaskedLM",
        _USUAL | {"attention_window": [16, 16]},
        "byte-level BPE (RobertaTokenizer)",
        byte_pairs(["<s>", "<pad>", "</s>", "<unk>"], {}, _roberta_template, last=["<mask>"], unk="<unk>"),
        _ROBERTA_PAIR,
        "1",
        (*_UNTYPED, "global_attention_mask"),
        f"config.json as in yikuan8/Clinical-Longformer, which is trained from it; tokenizer: {_TRANSFORMERS}",
        limit=4096,
        tiny_limit=256,
    ),
    Family(
        "distilbert/distilbert-base-multilingual-cased",
        {
            "model_type": "distilbert",
            "max_position_embeddings": 512,
            "pad_token_id": 0,
            "sinusoidal_pos_embds": False,
            "seq_classif_dropout": 0.2,
        },
        "DistilBertForMaskedLM",
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
        "word pieces (BertTokenizer)",
        word_piece(_BERT, _CASED),
        _BERT_PAIR,
        "none, though the tokenizer numbers 2",
        _UNTYPED,
        "config.json as in soBeauty/20231008-5-distilbert-base-multilingual-cased-new, which is trained from it; "
        f"tokenizer: {_TRANSFORMERS}",
        limit=512,
        tiny_limit=128,
    ),
    Family(
        "sentence-transformers/all-mpnet-base-v2",
        {
            "model_type": "mpnet",
            "max_position_embeddings": 514,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "relative_attention_num_buckets": 32,
            "layer_norm_eps": 1e-5,
        },
        "MPNetForMaskedLM",
        _USUAL,
        "word pieces (MPNetTokenizer)",
        word_piece(["<s>", "<pad>", "</s>", "[UNK]"], {"do_lower_case": True}, form="NFD", last=["<mask>"]),
        _ROBERTA_PAIR,
        "none",
        _UNTYPED,
        f"config.json as in the copy diptanuc/all-mpnet-base-v2; tokenizer: {_TRANSFORMERS}",
        limit=512,
        tiny_limit=128,
        pooling="mean Normalize",
    ),
    Family(
        "xlnet/xlnet-base-cased",
        {
            "model_type": "xlnet",
            "attn_type": "bi",
            "mem_len": None,
            "reuse_len": None,
            "same_length": False,
            "clamp_len": -1,
            "bi_data": False,
            "summary_type": "last",
            "summary_activation": "tanh",
            "pad_token_id": 5,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "untie_r": True,
        },
        "XLNetLMHeadModel",
        {"d_model": 32, "n_layer": 2, "n_head": 2, "d_head": 16, "d_inner": 64},
        "sentence pieces, padded on the left (XLNetTokenizer)",
        unigram(
            ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"],
            {},
            ("$A <sep> <cls>", "$A <sep> $B:1 <sep>:1 <cls>:1"),
            form="NFKD",
            unk_id=0,
        ),
        "A <sep> B <sep> <cls>",
        "no table; compares them",
        _UNTYPED,
        f"config.json as in dingli/xlnet_nlp_smartdispatch, which is trained from it; tokenizer: {_TRANSFORMERS}",
    ),
    Family(
        "junnyu/roformer_chinese_char_small",
        {
            "model_type": "roformer",
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
            "pad_token_id": 0,
            "rotary_value": False,
        },
        "RoFormerForMaskedLM",
        _USUAL | {"embedding_size": 32},
        "word pieces (BertTokenizer)",
        word_piece(
            _BERT, {"do_lower_case": True, "strip_accents": None, "tokenizer_class": "BertTokenizer"}, form="NFD"
        ),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json in commit 05197ca; tokenizer_config.json in commit 3b8c250",
        limit=512,
        tiny_limit=128,
    ),
    Family(
        "junnyu/roformer_chinese_base",
        {
            "model_type": "roformer",
            "max_position_embeddings": 1536,
            "type_vocab_size": 2,
            "pad_token_id": 0,
        },
        "RoFormerForMaskedLM",
        _USUAL | {"embedding_size": 32},
        "words of Jieba, then word pieces (RoFormerTokenizer)",
        word_piece(
            _BERT, {"do_lower_case": True, "strip_accents": None, "tokenizer_class": "RoFormerTokenizer"}, form="NFD"
        ),
        _BERT_PAIR,
        "2",
        _TYPED,
        "config.json in commit aab34c5; tokenizer_config.json in commit e4b0463",
        limit=1536,
        tiny_limit=128,
        refused=dict.fromkeys(COMMANDS, _NO_JIEBA),
    ),
    Family(
        "gogamza/kobart-base-v2",
        {
            "model_type": "bart",
            "max_position_embeddings": 1026,
            "pad_token_id": 3,
            "bos_token_id": 1,
            "eos_token_id": 1,
            "decoder_start_token_id": 1,
            "forced_eos_token_id": 1,
            "classifier_dropout": 0.1,
            "scale_embedding": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "BartModel",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
        },
        "BPE of characters (tokenizer.json as it is)",
        byte_pairs(
            ["<s>", "</s>", "<usr>", "<pad>", "<sys>", "<unk>", "<mask>"],
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "</s>",
                "eos_token": "</s>",
                "unk_token": "<unk>",
                "pad_token": "<pad>",
                "mask_token": "<mask>",
            },
            None,
            byte_level=False,
            unk="<unk>",
        ),
        "A B",
        "none",
        _UNTYPED,
        "config.json as in madatnlp/gamza-bart-for-kormath, which is trained from it; special_tokens_map.json as in "
        "circulus/kobart-trans-informal-v2; that nothing is put around a text: README.md of SKT-AI/KoBART, where two "
        "tokens give two states",
        limit=1026,
        tiny_limit=130,
        refused={"reranker": _NO_END},
    ),
    Family(
        "paust/pko-t5-base",
        {
            "model_type": "t5",
            "feed_forward_proj": "gated-gelu",
            "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
            "is_encoder_decoder": True,
            "tie_word_embeddings": False,
        },
        "T5ForConditionalGeneration",
        {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2},
        "byte-level BPE (tokenizer.json as it is)",
        byte_pairs(
            ["<pad>", "</s>"],
            {"eos_token": "</s>", "unk_token": "<pad>", "pad_token": "<pad>", "tokenizer_class": "T5TokenizerFast"},
            ("$A </s>", "$A </s> $B </s>"),
        ),
        "A </s> B </s>",
        "none",
        _UNTYPED,
        "config.json as in du-kang/custom1-3, which is trained from it; special_tokens_map.json; README.md of "
        "paust-team/pko-t5 (byte-level BPE in a T5TokenizerFast)",
        spare_embeddings=8,
        refused={"linear": _LINEAR_T5},
    ),
    Family(
        "sentence-transformers/sentence-t5-base",
        {
            "model_type": "t5",
            "feed_forward_proj": "relu",
            "relative_attention_num_buckets": 32,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
            "is_encoder_decoder": True,
        },
        "T5EncoderModel",
        {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2},
        "sentence pieces (T5Tokenizer)",
        unigram(
            ["<pad>", "</s>", "<unk>"],
            {
                "eos_token": "</s>",
                "unk_token": "<unk>",
                "pad_token": "<pad>",
                "extra_ids": 100,
                "additional_special_tokens": [f"<extra_id_{i}>" for i in range(100)],
                "tokenizer_class": "T5Tokenizer",
            },
            ("$A </s>", "$A </s> $B </s>"),
            last=[f"<extra_id_{i}>" for i in reversed(range(100))],
            unk_id=2,
        ),
        "A </s> B </s>",
        "none",
        _UNTYPED,
        "README.md (the encoder of a T5-base alone, in fp16); 1_Pooling/config.json, 2_Dense/config.json; "
        f"the rest: {_TRANSFORMERS}",
        spare_embeddings=8,
        dtype=torch.float16,
        pooling="mean Dense Normalize",
        refused={"linear": _LINEAR_T5, "dpr": _DENSE_LAYER, "reranker": _NO_DECODER, "dense": _DENSE_LAYER},
    ),
]


# ------------------------------------------------------------------------------------------------------------- the page


def document() -> str:
    """Return docs/encoders.md."""
    return "TODO"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
