"""Write docs/flags.md, which follows from the code; a test compares it with what this would write."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import arguments  # noqa: E402, F401 (which registers the commands)
from loading.perturbations import PERTURBATIONS  # noqa: E402
from models.heads import HEADS, head_class  # noqa: E402
from reading.augmentation import AUGMENTATIONS  # noqa: E402
from reading.metrics import METRICS  # noqa: E402
from reading.postprocessing import RULES  # noqa: E402
from retrieval import RETRIEVERS  # noqa: E402
from retrieval.analyzers import ANALYZERS  # noqa: E402
from runtime.files import write_text  # noqa: E402
from runtime.flags import COMMANDS, fields_by_group, flag_of  # noqa: E402
from runtime.help_page import explanation, signature  # noqa: E402

PAGE = ROOT / "docs/flags.md"
_HEAD = """# Flags

Every flag of every command, as `--help` explains it. Written by `python script/update_docs.py`: do not edit.

A flag that would be ignored is refused, with the reason in the last column. `--config FILE` reads flags from a YAML or
JSON file, such as the `arguments.json` of a run; the command line wins. Dashes may stand for underscores.
"""


def flags_page() -> str:
    """Return the page of all flags, a section for each command and in it a table for each group."""
    lines = [_HEAD]
    lines += [f"- [{file}](#{file.replace('.', '')})" for file in COMMANDS]
    lines.append(
        "- [names that flags take](#names-that-flags-take): heads, retrievers, analysers, augmentations, answer rules, "
        "perturbations, metrics"
    )
    for file, command in COMMANDS.items():
        lines += ["", f"## {file}", "", command.description]  # type: ignore[attr-defined]
        hints = typing.get_type_hints(command)
        for group, fields in fields_by_group(command).items():
            lines += ["", f"### {group} ({file})", ""]
            lines += ["| flag | what it does | ignored, and refused |", "|---|---|---|"]
            for field in fields:
                reasons = dict.fromkeys(why for condition in flag_of(field).read_if for why in condition.reasons())
                cells = [f"`{signature(field, hints[field.name])}`", explanation(field), "; ".join(reasons)]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, *names_that_flags_take()]) + "\n"


def names_that_flags_take() -> list[str]:
    """Return the tables of heads, retrievers, analysers, augmentations, answer rules, perturbations, metrics."""
    tables: dict[str, dict[str, Any]] = {
        "head": {name: head_class(name) if head.place else None for name, head in HEADS.items()},
        "retriever_type": RETRIEVERS,
        "analyzer": ANALYZERS,
        "augment": {name: one.question or one.window or one.examples for name, one in AUGMENTATIONS.items()},
        "postprocess": {name: rule.borders or rule.answers for name, rule in RULES.items()},
        "perturbations": PERTURBATIONS,
        "metric": {name: metric.overlap for name, metric in METRICS.items()},
    }
    without = {
        "linear": "Transformers' own question answering model: one linear layer.",
        "title_prefix": "What is read is `title: text`, in evaluation and inference too.",
    }
    lines = ["", "## Names that flags take"]
    for flag, registry in tables.items():
        lines += ["", f"### --{flag}", "", "| name | what it is |", "|---|---|"]
        for name, described in registry.items():
            first = without.get(name) or " ".join((inspect.getdoc(described) or "").split("\n\n")[0].split())
            first = re.sub(r"(?::\w+:|`)`([^`]*)``?", r"`\1`", first)  # of docstrings to that of Markdown
            lines.append(f"| `{name}` | {first} |")
    return lines


def main() -> None:
    """Write the page."""
    write_text(PAGE, flags_page())


if __name__ == "__main__":
    main()
