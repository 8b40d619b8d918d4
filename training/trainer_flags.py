"""Every flag of Transformers' ``TrainingArguments``, read from its source: importing it would take seconds."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.flags import flag, flag_group, only_if

_TYPES = {"bool": bool, "int": int, "float": float, "list[str]": list[str]}
# Groups of --help by the beginning of a flag's name; the first that fits.
_GROUPS = {
    "tracking": ("log", "report_to", "project", "trackio", "disable_tqdm", "include_num"),
    "checkpoints": ("save", "load_best", "metric_for", "greater_is", "ignore_data_skip", "restore_callback"),
    "evaluation": ("eval", "per_device_eval", "prediction_loss", "include_for", "batch_eval", "do_eval"),
    "processes": ("ddp", "accelerator", "local_rank", "average_tokens", "use_cpu", "dataloader", "full_determinism"),
    "memory": (
        "torch_",
        "gradient_checkpointing",
        "activation",
        "use_liger",
        "liger",
        "auto_find",
        "tf32",
        "use_cache",
    ),
}
_OTHERS = "trainer"
_BOUNDS = {
    "dataloader_num_workers": {"at_least": 0, "at_most": 256},
    "dataloader_prefetch_factor": {"at_least": 1, "at_most": 1000},
}


@dataclass(frozen=True)
class TrainerField:
    """A field of ``TrainingArguments``: its type where the command line knows it, and its default if it is written."""

    name: str
    type: Any
    default: Any
    help: str


@cache
def trainer_fields() -> tuple[TrainerField, ...]:
    """Return the fields of the installed ``TrainingArguments`` that a word on the command line can give."""
    package = importlib.util.find_spec("transformers")
    if package is None or package.origin is None:
        raise ImportError("transformers is not installed: pip install -r requirements.txt")
    source = (Path(package.origin).parent / "training_args.py").read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    (body,) = (node.body for node in classes if node.name == "TrainingArguments")
    fields = [
        _field_of(node, node.value)
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call)
    ]
    return tuple(one for one in fields if one.name != "parallelism_config")  # an object, which no word gives


def _field_of(node: ast.AnnAssign, call: ast.Call) -> TrainerField:
    kinds = {kind.strip() for kind in ast.unparse(node.annotation).split("|")} - {"None"}
    facts: dict[str | None, Any] = {keyword.arg: keyword.value for keyword in call.keywords}
    metadata = facts["metadata"]
    texts = {ast.unparse(key): value for key, value in zip(metadata.keys, metadata.values, strict=True)}
    kind = _TYPES.get(kinds.pop(), str) if len(kinds) == 1 else str
    default = [] if "default_factory" in facts else _literal(facts.get("default"))
    name, words = ast.unparse(node.target), _literal(texts["'help'"]) or ""
    return TrainerField(name, kind if default is not None else kind | None, default, words)


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:  # a name: the Trainer's own is taken where None is given
        return None


def _trainer_flags() -> type:
    namespace: dict[str, Any] = {"__annotations__": {}, "__doc__": "The flags of the Trainer.", "__module__": __name__}
    for one in trainer_fields():
        if one.name not in NOT_OF_THIS_TRAINER:
            group = next((title for title, starts in _GROUPS.items() if one.name.startswith(starts)), _OTHERS)
            namespace["__annotations__"][one.name] = one.type
            words, bounds = " ".join(one.help.replace("%%", "%").split()), _BOUNDS.get(one.name, {})
            namespace[one.name] = flag(one.default, words, group=group, **bounds)
    return flag_group(_OTHERS)(type("TrainerFlags", (), namespace))


_READS = "evaluation reads as inference.py does: whole windows, logits kept on the CPU, in the precision of the run"
NOT_OF_THIS_TRAINER = {
    "do_predict": "inference.py answers the test questions",
    "enable_jit_checkpoint": "SIGTERM and Ctrl-C save a checkpoint anyway",
    "dataloader_drop_last": "every feature is trained on",
    "remove_unused_columns": "what the reader does not take stays behind anyway",
    "hub_strategy": "--push_to_hub uploads the best model once, when the run is over",
    "hub_always_push": "--push_to_hub uploads once, and waits for it",
    "hub_revision": "--push_to_hub uploads to the main branch",
    "length_column_name": "the lengths of features are known",
    "logging_nan_inf_filter": "a loss that is no number ends the run",
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed"), "evaluation needs the whole reader in every process"),
    **dict.fromkeys(("label_names", "include_for_metrics", "batch_eval_metrics", "eval_accumulation_steps"), _READS),
    **dict.fromkeys(("eval_do_concat_batches", "eval_use_gather_object", "bf16_full_eval", "fp16_full_eval"), _READS),
}
"""Flags of the Trainer that ours would ignore, and why."""

if TYPE_CHECKING:

    class TrainerFlags:
        """Every other flag of the Trainer."""

        def __getattr__(self, name: str) -> Any: ...

else:
    TrainerFlags = _trainer_flags()


@flag_group("former")
class FormerTrainerArguments:
    """Flags that transformers 5 dropped, and that say what is so anyway."""

    adafactor: bool = flag(False, "Former flag: the same as --optim adafactor.")
    group_by_length: bool = flag(
        True,
        "Former flag: batches hold features of similar length anyway.",
        read_if=only_if(
            lambda args: args.group_by_length,
            "batches hold features of similar length; --train_sampling_strategy sequential keeps the order of the data",
        ),
    )
    save_safetensors: bool = flag(
        True,
        "Former flag: weights are saved as safetensors anyway.",
        read_if=only_if(lambda args: args.save_safetensors, "weights are saved as safetensors"),
    )
