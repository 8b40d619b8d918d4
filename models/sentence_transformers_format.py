"""The folder format of sentence-transformers: how its models read a text, in files beside the weights.

``modules.json`` lists what follows the encoder (pooling, normalisation), ``config_sentence_transformers.json`` holds
prompts. An encoder saved so needs no flags here, and the encoders and rerankers that are saved here open there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from models.arguments import EncoderSpec
from runtime.errors import UserError
from runtime.files import read_json, write_json

_MODULES, _PROMPTS, _LENGTH = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
_POOLING_NAMES = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "last": "pooling_mode_lasttoken",
}
_PACKAGE = "sentence-transformers>=6.2,<7"
_RERANKER = "CrossEncoder"
RERANKER_CONFIG = {"activation_fn": "torch.nn.modules.linear.Identity"}  # the logit is the score, with no sigmoid
_QUESTION_PROMPTS, _PASSAGE_PROMPTS = ("query", "question"), ("document", "passage", "corpus")


def import_library(who: str) -> Any:
    """Return the package, which computes what is not computed here; ``who`` needs it, if it is missing."""
    try:
        import sentence_transformers
    except ImportError as error:
        raise UserError(
            f'{who} sentence-transformers, which cannot be imported ({error}): pip install "{_PACKAGE}"'
        ) from None
    return sentence_transformers


def read_settings(name: str) -> dict[str, Any]:
    """Return the settings of the encoder in the folder, or of the hub name, ``name``, as flags would give them.

    ``pooling``, ``normalize``, ``question_prefix``, ``passage_prefix``, ``dimensions`` and ``padding_side``, and
    ``max_len`` where a length is saved; nothing of an encoder in another format. Vectors that are compared by cosine,
    as the library does unless it is told otherwise, are normalised. Raises :class:`UserError` for steps that are not
    computed here.
    """
    try:
        modules = _read(name, _MODULES)
        if modules is None or (_read(name, _PROMPTS) or {}).get("model_type") == _RERANKER:
            return {}
        kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
        unknown = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
        if unknown or kinds.get("Transformer") != "" or "Pooling" not in kinds:
            raise UserError(
                f"{name} is an encoder of sentence-transformers whose {_MODULES} lists {', '.join(kinds)}; only a "
                "Transformer in the folder itself, Pooling and Normalize are computed here"
            )
        config, transformer = _read(name, _PROMPTS) or {}, _read(name, _LENGTH) or {}
        pooling = _read(name, f"{kinds['Pooling']}/config.json") or {}
        similarity = config.get("similarity_fn_name") or "cosine"
        if similarity not in ("cosine", "dot"):
            raise UserError(f"{name} compares vectors by {similarity}; here they are compared by cosine or dot")
        settings: dict[str, Any] = {
            "pooling": _pooling(name, pooling),
            "normalize": "Normalize" in kinds or similarity == "cosine",
            "question_prefix": _prompt(config, _QUESTION_PROMPTS),
            "passage_prefix": _prompt(config, _PASSAGE_PROMPTS),
            "dimensions": config.get("truncate_dim"),
            "padding_side": (_read(name, "tokenizer_config.json") or {}).get("padding_side", "right"),
        }
        if pooling.get("include_prompt") is False and settings["question_prefix"] + settings["passage_prefix"]:
            raise UserError(f"{name} leaves its prompts out of the pooling, which is not computed here")
        if transformer.get("do_lower_case"):
            raise UserError(f"{name} reads text in lower case beside its tokenizer, which is not done here")
        if (length := transformer.get("max_seq_length")) is not None:
            settings["max_len"] = int(length)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{name} has damaged files of sentence-transformers ({error!r}): save it again") from None
    return settings


def write_settings(folder: Path, spec: EncoderSpec, own_prompt: str, max_len: int, width: int) -> None:
    """Write beside the weights in ``folder`` what sentence-transformers needs to encode as this encoder does.

    ``own_prompt``, query or document, is the prompt that texts get where none is asked for; ``width`` is the size of a
    hidden state. The library shortens a vector after it is normalised: cosines there are the inner products here.
    """
    kinds = ["Transformer", "Pooling", *(["Normalize"] if spec.normalize else [])]
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], start=1))]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    modes = {name: mode == spec.pooling for mode, name in _POOLING_NAMES.items()}
    config: dict[str, Any] = {
        "prompts": {"query": spec.question_prefix, "document": spec.passage_prefix},
        "default_prompt_name": own_prompt,
        "similarity_fn_name": "cosine" if spec.normalize else "dot",
    }
    if spec.dimensions is not None:
        config["truncate_dim"] = spec.dimensions
    contents = {
        _MODULES: modules,
        _LENGTH: {"max_seq_length": max_len, "do_lower_case": False},
        _PROMPTS: config,
        f"{paths[1]}/config.json": {"word_embedding_dimension": width, **modes},
    }
    for path in paths[1:]:
        (folder / path).mkdir()
    for path, content in contents.items():
        write_json(folder / path, content)


def write_reranker_settings(folder: Path, max_len: int) -> None:
    """Write beside the weights in ``folder`` what the ``CrossEncoder`` there needs to read pairs of ``max_len`` tokens.

    It reads the passage as it is given: whoever asks it puts the title before the text. What becomes of the logit is
    said in the model's own configuration, see ``RERANKER_CONFIG``.
    """
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    write_json(folder / _MODULES, [module])
    write_json(folder / _LENGTH, {"transformer_task": "sequence-classification", "max_seq_length": max_len})
    write_json(folder / _PROMPTS, {"model_type": _RERANKER, "prompts": {}, "default_prompt_name": None})


def is_sparse(name: str) -> bool:
    """Whether ``name``, a folder or hub name, is a ``SparseEncoder`` of sentence-transformers."""
    try:
        modules, config = _read(name, _MODULES) or [], _read(name, _PROMPTS) or {}
        kinds = {module["type"].rpartition(".")[2] for module in modules}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False  # what is damaged is said by who loads it
    return config.get("model_type") == "SparseEncoder" or "SpladePooling" in kinds


def is_multi_vector(name: str) -> bool:
    """Whether ``name``, a folder or hub name, gives one vector a token: of sentence-transformers, PyLate or ColBERT."""
    try:
        kind = (_read(name, _PROMPTS) or {}).get("model_type")
        architectures = (_read(name, "config.json") or {}).get("architectures") or []
    except (OSError, ValueError, AttributeError, RecursionError):
        return False  # what is damaged is said by who loads it
    return kind in ("MultiVectorEncoder", "ColBERT") or "HF_ColBERT" in architectures


def _pooling(name: str, config: Mapping[str, Any]) -> str:
    mode = config.get("pooling_mode") or [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, value in config.items()
        if key.startswith("pooling_mode_") and value is True
    ]
    modes = [{"lasttoken": "last"}.get(mode, mode) for mode in ([mode] if isinstance(mode, str) else mode)]
    if len(modes) != 1 or modes[0] not in _POOLING_NAMES:
        raise UserError(
            f"{name} pools by {' and '.join(modes) or 'nothing'}; here an encoder pools by cls, mean or last"
        )
    return modes[0]


def _prompt(config: Mapping[str, Any], names: Sequence[str | None]) -> str:
    """Return the prompt that goes by one of ``names``; where there is none, the default one, if it is for any text."""
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if default not in (*_QUESTION_PROMPTS, *_PASSAGE_PROMPTS) and not any(name in prompts for name in names):
        names = [default]
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _read(name: str, file: str) -> Any:
    """Return the content of a JSON file of an encoder, of a hub name too; None where it has no such file."""
    path = Path(name) / file
    if not Path(name).is_dir():
        try:
            found = cached_file(name, file)
        except OSError:  # no such file, or no such name, of which loading the model will tell
            return None
        if found is None:
            return None
        path = Path(found)
    return read_json(path) if path.is_file() else None
