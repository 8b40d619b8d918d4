"""What a command wrote: without what differs between any two runs, and whether all of it is whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from retrieval.encoding import SHARDS
from runtime.checksums import CHECKSUMS_NAME, fault_of_folder
from runtime.files import read_json

# what a resumed run, another process or the clock may change
_FREE = {"time", "resume_from_checkpoint", "given", "code", "command", "window", "built", "index_bytes"}
_TIMED = re.compile(r".*(_runtime|_per_second|seconds)|milliseconds.*")
_DIGITS = re.compile(r"\d+")
_MINUTE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d")  # in a report
_MODELS = re.compile(r"checkpoint-\d+|best|p_encoder|q_encoder|step-\d+")


def contents(folder: Path) -> dict[str, Any]:
    """Return by relative path what the files in ``folder`` say, but for what no two runs have in common.

    Shards of an index, which stay for a week for an encoding to go on from, are left out.
    """
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "training_args.bin") and not path.parent.name.endswith(SHARDS)
    }


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """Return what of two contents is not the same; None where all is."""
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} was left"
        if found[name] != expected[name]:
            return f"{name} differs"
    return None


def half(folder: Path, expected: dict[str, Any]) -> str | None:
    """Return which file in ``folder`` that has its last name is not whole; None where all are.

    Of a folder that becomes whole at once, that holds the files that it has in ``expected``.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _is_coming(name) and (fault := _fault(path)):
            return f"{name} {fault}"
    named: dict[str, set[str]] = {}
    for name in expected:
        inside, _, file = name.rpartition("/")
        named.setdefault(_DIGITS.sub("N", inside), set()).add(file)
    for model in sorted(path for path in folder.rglob("*") if path.is_dir() and _MODELS.fullmatch(path.name)):
        name = model.relative_to(folder).as_posix()
        lacking = named.get(_DIGITS.sub("N", name), set()) - {path.name for path in model.iterdir()}
        lacking -= set() if _is_measured(model) else {"metrics.json"}
        if lacking and not _is_coming(name):
            return f"{name} lacks {', '.join(sorted(lacking))}"
    return None


def _is_measured(model: Path) -> bool:
    """Whether an evaluation came before ``model`` was saved; a run that is asked to stop saves without one."""
    state = model / "trainer_state.json"
    if not state.exists():
        return True
    content = read_json(state)
    return any("eval_loss" in line and line["step"] == content["global_step"] for line in content["log_history"])


def _is_coming(name: str) -> bool:
    return ".staging-" in name or ".coming" in name


def _fault(path: Path) -> str | None:
    try:
        if path.name == CHECKSUMS_NAME:
            return fault_of_folder(path.parent)
        if path.suffix == ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):  # the last may be cut off
                    json.loads(line)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix in (".csv", ".bin", ".pt", ".npy", ".txt", ".md") and path.stat().st_size == 0:
            return "is empty"
    except Exception as error:
        return f"cannot be read: {error!r}"
    return None


def _content(path: Path) -> Any:
    if path.name == CHECKSUMS_NAME:
        return fault_of_folder(path.parent)  # that of what may differ may differ
    if path.suffix in (".json", ".jsonl"):
        text = path.read_text(encoding="utf-8")
        return [_lasting(json.loads(line)) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]
    return _MINUTE.sub(b"", path.read_bytes().partition(b"**Time and size**")[0])


def _lasting(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _lasting(v) for k, v in content.items() if k not in _FREE and not _TIMED.fullmatch(k)}
    return [_lasting(value) for value in content] if isinstance(content, list) else content
