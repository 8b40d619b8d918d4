"""What ``retrieve.py`` measured, as Markdown tables and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retrieval.base import import_optional
from runtime.files import staged_file
from runtime.markdown import markdown_text
from runtime.terminal import columns_of

DEFINITIONS = {"gold_passage": "Gold passage found", "answer_in_text": "Passage with a gold answer found"}
_CURVE = "recall_curve"
_TRIED = {"recall_at_5": "recall@5", "mrr_at_10": "mrr@10"}


def markdown(report: Mapping[str, Any]) -> str:
    """Return one table per definition of what is to be found, and one of time and size."""
    rows = report["retrievers"]
    parts = [
        f"{report['questions']} questions ({report['split']}), {report['passages']} passages, "
        f"top {report['top_k']}. Scores in percent with 95 % bootstrap intervals."
    ]
    for definition, title in DEFINITIONS.items():
        if definition in rows[0]:
            metrics = [metric for metric in rows[0][definition] if metric != _CURVE]
            lines = [[row["retriever"], *(_figure(row[definition][metric]) for metric in metrics)] for row in rows]
            parts.append(f"**{title}** ({_counted(report, definition)})\n\n{table(['retriever', *metrics], lines)}")
    header = ["retriever", "ms/question", "build s", "this run", "index MB"]
    lines = [
        [
            row["retriever"],
            _milliseconds(row),
            f"{row['build_seconds']:.1f}",
            f"{'built' if row['built'] else 'loaded'} in {row['ready_seconds']:.1f} s",
            f"{row['index_bytes'] / 1e6:.1f}",
        ]
        for row in rows
    ]
    return "\n\n".join([*parts, f"**Time and size**\n\n{table(header, lines)}"]) + "\n"


def fusion_markdown(spec: str, fusion: Mapping[str, Any]) -> str:
    """Return the weights of a hybrid that were tried, the best, and how it does for the other questions."""
    curve = [
        [" ".join(f"{weight:g}" for weight in point["weights"]), *(f"{point[name]:.2f}" for name in _TRIED)]
        for point in fusion["curve"]
    ]
    metrics = list(next(iter(fusion["held_out"].values())))
    held_out = [[name, *(_figure(scores[metric]) for metric in metrics)] for name, scores in fusion["held_out"].items()]
    return (
        f"**{markdown_text(spec)}**: {fusion['flags']}\n\n"
        f"Tuned on {fusion['tuned_on_questions']} questions:\n\n{table(['weights', *_TRIED.values()], curve)}\n\n"
        f"Measured on the {fusion['held_out_questions']} questions about the other passages:\n\n"
        f"{table(['weights', *metrics], held_out)}\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns also stand straight as plain text; the first is left-aligned."""
    rows = [list(map(markdown_text, row)) for row in rows]
    widths = [max(map(columns_of, column)) for column in zip(header, *rows, strict=True)]
    header = list(map(markdown_text, header))
    lines = []
    for row in (header, *rows):
        gaps = [" " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True)]
        others = [f" {gap}{cell}" for cell, gap in zip(row[1:], gaps[1:], strict=True)]
        lines.append(f"| {' | '.join([row[0] + gaps[0], *others])} |")
    rule = ["-" * widths[0], *(f"{'-' * width}:" for width in widths[1:])]
    return "\n".join([lines[0], f"| {' | '.join(rule)} |", *lines[1:]])


def plot(report: Mapping[str, Any], path: str | Path) -> None:
    """Draw recall@k over k, one line per retriever and one panel per definition; :class:`MissingPackage` without
    matplotlib."""
    import_optional("matplotlib", "matplotlib")
    from matplotlib.figure import Figure

    panels = {name: title for name, title in DEFINITIONS.items() if name in report["retrievers"][0]}
    figure = Figure(figsize=(6.5 * len(panels), 5), layout="constrained")
    every_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (definition, title) in zip(every_axes, panels.items(), strict=True):
        for row in report["retrievers"]:
            recalls = row[definition][_CURVE]
            axes.plot(range(1, len(recalls) + 1), recalls, label=row["retriever"])
        axes.set(title=title, xlabel="passages retrieved per question (k)", ylabel="recall@k (%)", xscale="log")
        ticks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= report["top_k"]]
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize="small")
    with staged_file(path) as staging:
        figure.savefig(staging, format="png", dpi=150)


def _figure(summary: Mapping[str, float]) -> str:
    return f"{summary['mean']:.2f} ({summary['low']:.1f}–{summary['high']:.1f})"


def _milliseconds(row: Mapping[str, Any]) -> str:
    parts = " + ".join(f"{of_part:.2f}" for of_part in row["milliseconds_of_parts"])
    return f"{row['milliseconds_per_question']:.2f}" + (f" ({parts})" if parts else "")


def _counted(report: Mapping[str, Any], definition: str) -> str:
    if definition == "answer_in_text":
        return f"of {report['answerable']} questions with a gold answer"
    missing = report["gold_passages"] - report["in_corpus"]
    return f"of {report['gold_passages']} questions" + (f", {missing} of them about no passage here" if missing else "")
