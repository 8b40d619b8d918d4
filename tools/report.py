"""Show what runs learnt and where they go wrong, as one page that needs no network.

    python -m tools.report saved/quickstart outputs/eval --gold data/mini_wiki --output outputs/report.html

A folder shows what it holds: loss and scores while it trained (metrics.jsonl), or answers of inference.py
(predictions.json, nbest_predictions.json, retrieved_passages.csv) against --gold: which stage lost how much, groups of
questions, calibration, retrieval, every question. Two folders of answers are compared.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import ReportArguments, check_command_line

    check_command_line(ReportArguments)  # --help and mistakes are answered before the slow ones

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from arguments import ReportArguments, parse_arguments
from loading.arguments import column_names
from loading.examples import load_gold
from loading.statistics import question_word
from reading.comparison import Resampling, difference, estimate, groups_of, within
from reading.diagnosis import (
    KINDS,
    STAGES,
    Finding,
    Passage,
    Place,
    Span,
    calibration,
    calibration_error,
    diagnose,
    gold_spans,
    question_groups,
    waterfall,
)
from reading.metrics import METRICS, ExampleScores, references_of, score_examples
from reading.predictions import check_same_questions, predictions_of
from reading.voting import read_member
from runtime.charts import Chart, Line, line_chart
from runtime.errors import DataError, Problem, UserError, run_command
from runtime.files import read_users_json, write_text
from runtime.log import configure_logging, get_logger
from runtime.statistics import percent
from runtime.text import is_blank
from runtime.tracking import read_metrics

if TYPE_CHECKING:
    import datasets

logger = get_logger("report")

_MOST = 2  # folders with predictions: more do not fit side by side
_AROUND = 1500  # characters of a long passage that are shown on each side of its answers
_CURVES = {
    "loss": ("loss", {"loss": "training", "eval_loss": "evaluation"}),
    "exact match and F1": ("percent", {"eval_exact_match": "exact match", "eval_f1": "F1"}),
    "retrieval": ("percent", {"eval_recall@5": "recall@5", "eval_mrr@10": "MRR@10"}),
}


class Run(NamedTuple):
    """One folder of answers, what they score, and what became of every question.

    ``ranks`` are those of :class:`reading.comparison.Member`, ``depth`` is how many passages a question has at most.
    """

    name: str
    folder: str
    predictions: Mapping[str, str]
    scores: ExampleScores
    findings: list[Finding]
    ranks: dict[str, tuple[float, float]] | None
    depth: int
    metrics: Mapping[str, float]


def parse(argv: Sequence[str] | None = None) -> ReportArguments:
    """Parse the command line."""
    return parse_arguments(ReportArguments, argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the folders and write the page."""
    args = parse(argv)
    configure_logging()
    trained = {folder: lines for folder in args.folders if (lines := read_metrics(Path(folder) / "metrics.jsonl"))}
    answered = [folder for folder in args.folders if (Path(folder) / "predictions.json").is_file()]
    for folder in args.folders:
        if folder not in trained and folder not in answered:
            raise UserError(
                f"{folder} has neither metrics.jsonl nor predictions.json: name the folder of a run, "
                "--output_dir of the command that made it"
            )
    if len(answered) > _MOST:
        raise UserError(f"{len(answered)} of the folders have predictions.json: at most {_MOST} are shown side by side")
    if answered and args.gold is None:
        raise UserError(f"{answered[0]} has predictions, which are shown against gold answers: add --gold")
    if args.gold is not None and not answered:
        raise UserError("--gold would be ignored: none of the folders has predictions.json")

    page: dict[str, Any] = {"written": datetime.now().astimezone(), "folders": args.folders}
    page |= {"trained": [training_facts(*run) for run in trained.items()], "curves": curves(trained)}
    page |= answers_page(args, answered) if answered else {"runs": []}
    environment = Environment(
        loader=PackageLoader("tools", "pages"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["zip"] = zip
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    html = environment.get_template("report.html").render(page)
    write_text(args.output, html.encode("utf-8", "replace").decode())  # halves of surrogate pairs cannot be written
    print(args.output)


# ------------------------------------------------------------------------------------------------------------ training


def training_facts(folder: str, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a run did: steps, epochs, seconds from its first to its last line, its last and best figures."""
    evaluated = [line for line in lines if line.get("eval_exact_match") is not None]
    best = max(evaluated, key=lambda line: line["eval_exact_match"], default=None)
    times = [datetime.fromisoformat(line["time"]) for line in lines if "time" in line]
    return {
        "folder": folder,
        "steps": lines[-1]["step"],
        "epochs": max((line["epoch"] for line in lines if "epoch" in line), default=None),
        "seconds": (times[-1] - times[0]).total_seconds() if len(times) > 1 else None,
        "loss": next((line["loss"] for line in reversed(lines) if line.get("loss") is not None), None),
        "best": best,
    }


def curves(trained: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, Chart]]:
    """Return a chart of every kind of figure that the runs have, over optimizer steps."""
    charts = []
    for title, (unit, figures) in _CURVES.items():
        lines = []
        for number, (folder, logged) in enumerate(trained.items()):
            for place, (key, name) in enumerate(figures.items()):
                points = [(line["step"], line[key]) for line in logged if line.get(key) is not None]
                label = f"{folder}: {name}" if len(trained) > 1 else name
                lines += [Line(label, points, f"run{number % 6} line{place}")] if points else []
        if lines:
            charts.append((title, line_chart(lines, "optimizer step", unit)))
    return charts


# ------------------------------------------------------------------------------------------------------------- answers


def answers_page(args: ReportArguments, folders: Sequence[str]) -> dict[str, Any]:
    """Return what the page says of the answers in ``folders``."""
    assert args.gold is not None
    examples = load_gold(args.gold, column_names(args.column), question_types=True)
    references = references_of(examples)
    named = dict(zip(string.ascii_uppercase, folders, strict=False))
    files = {name: f"{folder}/predictions.json" for name, folder in named.items()}
    predictions = {name: predictions_of(read_member(path).candidates) for name, path in files.items()}
    check_same_questions(files, predictions, references)
    for name, path in files.items():
        if missing := sum(question not in predictions[name] for question in references):
            logger.warning("%s: questions without a prediction, counted as wrong: %d", path, missing)
    runs = [read_run(name, folder, predictions[name], examples, args.metric) for name, folder in named.items()]

    resampling = Resampling(args.bootstrap_samples, args.score_seed)
    kinds = {run.name: Counter(finding.kind for finding in run.findings) for run in runs}
    ranks = next((run.ranks for run in runs if run.ranks is not None), None)
    groups = {"kind of question": groups_of(examples)} | question_groups(examples, ranks)
    return {
        "gold": args.gold,
        "questions": len(examples),
        "metric": args.metric,
        "overlap": METRICS[args.metric].overlap_name.upper().replace("_", "-"),
        "runs": runs,
        "estimates": {run.name: [estimate(values, resampling) for values in run.scores] for run in runs},
        "difference": difference(runs[0].scores, runs[1].scores, resampling) if len(runs) > 1 else None,
        "waterfalls": {run.name: waterfall([finding.stage for finding in run.findings]) for run in runs},
        "stages": STAGES,
        "kinds": {kind: [100 * kinds[run.name][kind] / len(examples) for run in runs] for kind in KINDS},
        "what_kinds_mean": KINDS,
        "groups": {title: group_rows(parts, runs, resampling) for title, parts in groups.items() if len(parts) > 1},
        "ranks_of": next((run.name for run in runs if run.ranks is not None), None),
        "calibration": calibration_page(runs),
        "retrieval": retrieval_page(runs, examples),
        "data": questions_data(runs, examples),
    }


def read_run(name: str, folder: str, predictions: Mapping[str, str], examples: datasets.Dataset, metric: str) -> Run:
    """Return the answers in ``folder`` with what became of every question."""
    from retrieval.metrics import ranks_in_table
    from retrieval.table import get_retrieved_df

    scores = score_examples(predictions, references_of(examples), metric)
    nbest, table, known = (
        Path(folder) / file for file in ("nbest_predictions.json", "retrieved_passages.csv", "metrics.json")
    )
    candidates = read_member(str(nbest)).candidates if nbest.is_file() else {}
    ranks, depth = None, 1
    passages = {row["id"]: [Passage(row["document_id"], row["title"], row["context"], 1)] for row in examples}
    if table.is_file():
        df = get_retrieved_df(table, examples, partly=True)
        ranks, depth, passages = ranks_in_table(df, examples), int(df["rank"].max()), {}
        for row in df.itertuples():
            start = getattr(row, "passage_start", 0)
            passages.setdefault(row.id, []).append(Passage(row.document_id, row.title, row.context, row.rank, start))
    findings = [
        diagnose(
            example,
            predictions.get(example["id"], ""),
            candidates.get(example["id"], []),
            passages.get(example["id"], []),
            right == 1,
            ranks is None or any(rank >= 1 for rank in ranks.get(example["id"], ())),  # NaN is not
            metric,
        )
        for example, right in zip(examples, scores.exact_match, strict=True)
    ]
    return Run(name, folder, predictions, scores, findings, ranks, depth, read_scores(known) if known.is_file() else {})


def read_scores(path: Path) -> dict[str, float]:
    """Return what is shown of ``metrics.json``; :class:`DataError` if that is no percentage."""
    content, name = read_users_json(path), "oracle_exact_match"
    found = content.get(name, 0) if isinstance(content, dict) else None
    if not isinstance(found, int | float) or not 0 <= found <= 100:
        reason = f"must hold metrics, among them {name} from 0 to 100, as inference.py writes it"
        raise DataError([Problem(str(path), "", reason)], "Delete it, or name another folder.")
    return {name: found} if name in content else {}


def group_rows(parts: Mapping[str, Any], runs: Sequence[Run], resampling: Resampling) -> list[dict[str, Any]]:
    """Return a row for each group of questions: its size, the estimates of every run, and their difference."""
    rows = []
    for name, group in parts.items():
        scores = [within(run.scores, group) for run in runs]
        row = {"name": name, "size": int(group.sum())}
        row["scores"] = [(estimate(one.exact_match, resampling), percent(one.overlap)) for one in scores]
        row["difference"] = difference(scores[0], scores[1], resampling).exact_match if len(runs) > 1 else None
        rows.append(row)
    return rows


def calibration_page(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return how often answers of some probability are right; None where no run has probabilities."""
    lines, bins_of = [Line("perfect", [(0, 0), (100, 100)], "ideal")], {}
    for number, run in enumerate(runs):
        known = [
            (finding.probability, right)
            for finding, right in zip(run.findings, run.scores.exact_match, strict=True)
            if finding.probability is not None
        ]
        if known:
            bins = bins_of[run.name] = calibration([one for one, _ in known], [right for _, right in known])
            points = [(one.confidence, one.accuracy) for one in bins if one.answers]
            lines.append(Line(run.name, points, f"run{number} line0"))
    chart = line_chart(lines, "probability (%)", "right (%)", (0, 100), (0, 100), width=420, height=340)
    errors = {name: calibration_error(bins) for name, bins in bins_of.items()}
    return {"chart": chart, "errors": errors, "bins": bins_of} if bins_of else None


def retrieval_page(runs: Sequence[Run], examples: datasets.Dataset) -> dict[str, Any] | None:
    """Return how often the passages hold what is looked for, by depth; None where no run retrieved."""
    from retrieval.metrics import KS, hits_of

    lines, rows, ks = [], [], set()
    for number, run in enumerate(runs):
        if run.ranks is None:
            continue
        depths = range(1, run.depth + 1)
        hits = hits_of(run.ranks, examples, depths)
        ks |= {*(k for k in KS if k < run.depth), run.depth}
        for place, (key, title) in enumerate((("hit", "gold passage"), ("answer_hit", "answer in text"))):
            found = {k: hits[f"{key}@{k}"] for k in depths if f"{key}@{k}" in hits}
            if found:
                lines.append(Line(f"{run.name}: {title}", list(found.items()), f"run{number} line{place}"))
                rows.append((run.name, title, found))
    return {"chart": line_chart(lines, "passages", "found (%)"), "rows": rows, "ks": sorted(ks)} if lines else None


# ---------------------------------------------------------------------------------------------------------- questions


def questions_data(runs: Sequence[Run], examples: datasets.Dataset) -> dict[str, Any]:
    """Return every question with its answers and their passages, as the script of the page reads them.

    A text stands once, however many questions show it.
    """
    texts: dict[str, int] = {}
    questions = []
    for index, example in enumerate(examples):
        questions.append(
            {
                "id": example["id"],
                "question": example["question"],
                "word": question_word(example["question"]),
                "golds": list(dict.fromkeys(example["answers"]["text"])),
                "answers": [answer_data(run, index, example["id"]) for run in runs],
                "passages": passages_data(example, [run.findings[index].place for run in runs], texts),
            }
        )
    return {"texts": list(texts), "questions": questions}


def answer_data(run: Run, index: int, example_id: str) -> dict[str, Any]:
    """Return what the page says of the answer of ``run`` to one question."""
    finding = run.findings[index]
    gold_rank = run.ranks.get(example_id, (0.0,))[0] if run.ranks is not None else 0.0
    return {
        "text": run.predictions.get(example_id, ""),
        "probability": finding.probability,
        "right": finding.kind == "exact",
        "kind": finding.kind,
        "stage": finding.stage,
        "retrieved": run.ranks is not None,
        "gold_rank": int(gold_rank) if gold_rank >= 1 else None,  # NaN is not
    }


def passages_data(
    example: Mapping[str, Any], places: Sequence[Place | None], texts: dict[str, int]
) -> list[dict[str, Any]]:
    """Return the gold passage and those that answers were found in, with what is marked in each.

    ``marks`` are ``(start, end, class)`` in characters of a text, which is a number in ``texts``.
    """
    shown: dict[str, tuple[str, list[str], list[tuple[int, int, str]]]] = {}
    if not is_blank(example["context"]):
        marks = [(*span, "gold") for span in gold_spans(example["context"], example)]
        shown[example["context"]] = (example["title"], ["gold passage"], marks)
    for number, place in enumerate(places):
        if place is not None:
            marks = [(*span, "gold") for span in place.gold_spans]
            _, notes, marks = shown.setdefault(place.passage.text, (place.passage.title, [], marks))
            notes.append(f"{string.ascii_uppercase[number]} answers from it, passage {place.passage.rank}")
            marks.append((place.start, place.end, f"answer run{number}"))
    passages = []
    for text, (title, notes, marks) in shown.items():
        start, end = excerpt(text, [(first, last) for first, last, _ in marks])
        kept = [(first - start, last - start, name) for first, last, name in marks]
        number = texts.setdefault(text[start:end], len(texts))
        cut = [start > 0, end < len(text)]
        passages.append({"title": title, "notes": notes, "text": number, "marks": kept, "cut": cut})
    return passages


def excerpt(text: str, spans: Sequence[Span]) -> Span:
    """Return which part of a long passage is shown: all ``spans``, and as much around them as is read at a glance."""
    if len(text) <= 2 * _AROUND:
        return 0, len(text)
    first, last = min((start for start, _ in spans), default=0), max((end for _, end in spans), default=0)
    return max(0, first - _AROUND), min(len(text), last + _AROUND)


if __name__ == "__main__":
    run_command(main)
