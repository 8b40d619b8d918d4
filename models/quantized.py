"""Encoders in int8 on a CPU, computed by OpenVINO: what ``--backend openvino`` puts in the place of torch's.

Only the encoder is replaced. Heads, pooling and scores stay in torch, so that whatever is built on an encoder works.
Weights and activations are quantised once, after training, to the ranges that the questions and passages of the sample
show (Jacob et al. 2018, https://arxiv.org/abs/1712.05877, with outliers moved from activations to weights: Xiao et
al. 2023, https://arxiv.org/abs/2211.10438), and are kept in ``openvino/`` beside the weights.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from models.encoder import INT8_FOLDER, BiEncoder, hash_model
from models.inputs import GLOBAL_ATTENTION, ModelInputs
from models.loading import quiet
from runtime.checksums import fault_of_folder, write_checksums
from runtime.device import default_device
from runtime.errors import UserError
from runtime.files import read_json, staged_folder, write_json, writing
from runtime.locks import turn_at
from runtime.log import get_logger

logger = get_logger(__name__)

FORMAT_VERSION = 1  # of kept encoders: raise it when older ones must not be read any more
_MANIFEST, _MODEL = "manifest.json", "encoder.xml"
_SAMPLE = Path(__file__).parent.parent / "data/mini_wiki/train.json"
_MEASURED, _CHECKED = 32, 4  # pairs of the sample that give the ranges, and others that the result is checked with
_LONGEST = 256  # tokens of such a pair
_LOWEST_COSINE = 0.7  # of a token's state with that of torch, on average; at 0.78 a reader answered about as well
_WAY_OUT = "leave out --backend"


class QuantizedEncoder(torch.nn.Module):
    """Stands for ``encoder``: the same inputs (``names``) and outputs (``keys``), computed by ``compiled``."""

    def __init__(self, encoder: Any, compiled: Any, names: Sequence[str], shown: Mapping[str, Any]) -> None:
        super().__init__()
        self.config, self.names, self.output = encoder.config, names, type(shown)
        self.compiled, self.keys = compiled, _tensors(shown)
        self.device = torch.device("cpu")

    def forward(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> Any:
        """Return the output of the encoder's own class: states (batch, tokens, H), where it pools also (batch, H)."""
        inputs["input_ids"] = input_ids
        computed = self.compiled([inputs[name].numpy() for name in self.names])
        return self.output(**{key: torch.from_numpy(computed[index]) for index, key in enumerate(self.keys)})


def quantized(model: PreTrainedModel, inputs: ModelInputs, precision: str) -> Any:
    """Return ``model``, loaded from a folder, with its encoder in int8; of an encoder alone what stands for it.

    What int8 does not hold is computed in ``precision``, a resolved one. The first call for these weights takes a
    minute or so; then they are read from the folder. Raises :class:`UserError` where a package is missing, there is a
    GPU, the model is not in a folder, or OpenVINO cannot compute it as torch does.
    """
    name, encoder = str(model.name_or_path), model.base_model
    if default_device().type != "cpu":
        raise UserError(
            f"--backend openvino computes on the CPU, and this machine has a faster GPU: {_WAY_OUT}, or hide the GPU "
            "with CUDA_VISIBLE_DEVICES="
        )
    if not Path(name).is_dir():
        raise UserError(
            f"--backend openvino keeps the int8 weights of {name} beside the others: download it, with "
            f"hf download {name} --local-dir saved/{Path(name).name}, and name that folder"
        )
    if GLOBAL_ATTENTION in inputs.names or hasattr(encoder, "set_attention_type"):
        raise _refusal(model, "its attention depends on the length of the text")
    openvino, kept = _package("openvino"), Path(name) / INT8_FOLDER
    batch = inputs.pad(_tokenized(inputs, ["가"], ["나"]), multiple=1)
    names = list(batch)
    with torch.no_grad():
        shown = encoder(**batch)
    identity = {"format_version": FORMAT_VERSION, "model": hash_model(name), "inputs": names}
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
    }

    def read(folder: Path) -> QuantizedEncoder:
        compiled = openvino.Core().compile_model(folder / _MODEL, "CPU", settings)
        return QuantizedEncoder(encoder, compiled, names, shown)

    def make(fault: str) -> None:
        logger.info("%s: %s, so the encoder is quantised, which takes a minute or so", kept, fault)
        nncf, rows = _package("nncf"), _tokenized(inputs, *_sample())
        with staged_folder(kept) as staging:
            try:
                single = [inputs.pad([row], multiple=1) for row in rows[_CHECKED:]]
                int8 = _quantize(openvino, nncf, _Traced(encoder, names, _tensors(shown)), single)
                openvino.save_model(int8, staging / _MODEL)
                checked = [batch, inputs.pad(rows[:_CHECKED], multiple=16)]  # some that fit a trace fail when short
                made = read(staging)
                cosine = np.mean([_cosine(encoder, made, one) for one in checked])
            except Exception as error:  # whatever a family or its conversion raises
                raise _refusal(model, next(iter(str(error).strip().splitlines()), type(error).__name__)) from None
            if not cosine >= _LOWEST_COSINE:
                raise _refusal(model, f"in int8 its states are others (cosine {cosine:.2f})")
            write_json(staging / _MANIFEST, identity)
            write_checksums(staging)
        logger.info("%s: int8; its states have a mean cosine of %.4f with those of torch", kept, cosine)

    if _fault(kept, identity) is not None:
        lock = kept.with_name(f".{INT8_FOLDER}.lock")
        with writing(lock), turn_at(lock):
            if (fault := _fault(kept, identity)) is not None:  # no other process was faster
                make(fault)
    stands_for_it = read(kept)
    if encoder is model:
        return stands_for_it
    setattr(model, model.base_model_prefix, stands_for_it)
    return model


def quantized_pair(bi_encoder: BiEncoder, precision: str) -> BiEncoder:
    """Return ``bi_encoder`` with both encoders as :func:`quantized` has them; still one where they were one."""
    p_encoder, q_encoder = bi_encoder.p_encoder, bi_encoder.q_encoder
    bi_encoder.p_encoder = quantized(p_encoder, bi_encoder.inputs, precision)
    shared = q_encoder is p_encoder
    bi_encoder.q_encoder = bi_encoder.p_encoder if shared else quantized(q_encoder, bi_encoder.inputs, precision)
    return bi_encoder


def quantize_modules(model: Any, precision: str) -> None:
    """Replace encoders in a multi-vector or sparse ``model`` of sentence-transformers as :func:`quantized` does."""
    from sentence_transformers.base.modules import Transformer

    for module in [module for module in model.modules() if isinstance(module, Transformer)]:
        module.model = quantized(module.model, ModelInputs(module.model, module.tokenizer), precision)


class _Traced(torch.nn.Module):
    """An encoder with inputs and outputs in a row, as a trace has them."""

    def __init__(self, encoder: torch.nn.Module, names: Sequence[str], keys: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.names, self.keys = encoder, names, keys

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.encoder(**dict(zip(self.names, inputs, strict=True)))
        return tuple(output[key] for key in self.keys)


def _quantize(openvino: Any, nncf: Any, encoder: _Traced, batches: Sequence[Mapping[str, torch.Tensor]]) -> Any:
    """Return OpenVINO's model of the encoder, in int8 with the ranges that ``batches`` show."""
    with torch.no_grad(), quiet(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        nncf.set_log_level("ERROR")
        converted = openvino.convert_model(encoder, example_input=tuple(batches[0][name] for name in encoder.names))
        shown = nncf.Dataset(list(batches), lambda batch: [batch[name].numpy() for name in encoder.names])
        return nncf.quantize(converted, shown, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(batches))


@torch.no_grad()
def _cosine(encoder: Any, other: Any, batch: Mapping[str, torch.Tensor]) -> float:
    """Return the mean cosine of the states of all tokens with those of ``other``."""
    states, others = encoder(**batch)[0], other(**batch)[0]  # (batch, tokens, H) each
    return F.cosine_similarity(states, others, dim=-1)[batch["attention_mask"].bool()].mean().item()


def _tokenized(inputs: ModelInputs, questions: Sequence[str], passages: Sequence[str]) -> list[dict[str, list[int]]]:
    """Return the inputs of every pair."""
    longest = min(inputs.limit, _LONGEST)
    return inputs.tokenize(questions, passages, truncation="only_second", max_length=longest)


def _sample() -> tuple[list[str], list[str]]:
    """Return questions and their passages, from all over the sample."""
    paragraphs = [one for article in read_json(_SAMPLE)["data"] for one in article["paragraphs"]]
    pairs = [(one["qas"][0]["question"], one["context"]) for one in paragraphs]
    some = pairs[:: len(pairs) // (_MEASURED + _CHECKED)][: _MEASURED + _CHECKED]
    return [question for question, _ in some], [passage for _, passage in some]


def _fault(folder: Path, identity: Mapping[str, Any]) -> str | None:
    """Return why what is kept in ``folder`` is not the encoder of that ``identity``; None if it is."""
    if not folder.is_dir():
        return "not there yet"
    if (fault := fault_of_folder(folder)) is not None:
        return fault
    return None if read_json(folder / _MANIFEST) == identity else "made of other weights"


def _tensors(shown: Mapping[str, Any]) -> list[str]:
    """Return the names of the tensors in an encoder's output."""
    return [key for key, value in shown.items() if isinstance(value, torch.Tensor)]


def _refusal(model: PreTrainedModel, reason: str) -> UserError:
    who = f"{model.name_or_path}, a {model.config.model_type}"
    return UserError(f"--backend openvino cannot compute {who}, in int8 ({reason}): {_WAY_OUT}")


def _package(name: str) -> Any:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report to its makers
    try:
        return importlib.import_module(name)
    except ImportError as error:
        way_out = f"pip install openvino nncf, or {_WAY_OUT}"
        raise UserError(f"--backend openvino needs {name} ({error}): {way_out}") from None
