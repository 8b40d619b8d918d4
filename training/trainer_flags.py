"""Every flag of Transformers' ``TrainingArguments``, read from its source: importing it would take seconds."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runtime.command_line import flag, flag_group

_TYPES = {"bool": bool, "int": int, "float": float, "list[str]": list[str]}
# Groups of --help by the beginning of a flag's name; the first that fits.
_GROUPS = {
    "hub": ("hub_", "push_to_hub"),
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
    calls = [
        (node, node.value) for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call)
    ]
    found = [_field_of(node, call) for node, call in calls]
    return tuple(one for one in found if one is not None)


def _field_of(node: ast.AnnAssign, call: ast.Call) -> TrainerField | None:
    name = ast.unparse(node.target)
    members = {member.strip() for member in ast.unparse(node.annotation).split("|")}
    facts: dict[str | None, Any] = {keyword.arg: keyword.value for keyword in call.keywords}
    metadata = facts["metadata"]
    texts = {ast.unparse(key): value for key, value in zip(metadata.keys, metadata.values, strict=True)}
    kinds = members - {"None"}
    if kinds == {"ParallelismConfig"}:
        return None
    kind = _TYPES.get(next(iter(kinds)), str) if len(kinds) == 1 else str
    default = [] if "default_factory" in facts else _literal(facts.get("default"))
    return TrainerField(name, kind if default is not None else kind | None, default, _literal(texts["'help'"]) or "")


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:  # a name: the Trainer's own is taken where None is given
        return None


def trainer_flags(left_out: frozenset[str]) -> type:
    """Return a group of all flags of the Trainer but those ``left_out``."""
    namespace: dict[str, Any] = {"__annotations__": {}, "__doc__": "The flags of the Trainer.", "__module__": __name__}
    for one in trainer_fields():
        if one.name not in left_out:
            group = next((title for title, starts in _GROUPS.items() if one.name.startswith(starts)), _OTHERS)
            namespace["__annotations__"][one.name] = one.type
            namespace[one.name] = flag(one.default, " ".join(one.help.replace("%%", "%").split()), group=group)
    return flag_group(_OTHERS)(type("TrainerFlags", (), namespace))
