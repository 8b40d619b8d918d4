"""The tables character by character, and what is drawn."""

from __future__ import annotations

from matplotlib.figure import Figure

from retrieval.report import fusion_markdown, markdown, plot


def row(name, curve, **changes):
    figure = {"mean": 66.666, "low": 50.04, "high": 100.0}
    measured = {
        "milliseconds_of_parts": [],
        "built": True,
        "ready_seconds": 2.04,
        "build_seconds": 1.5,
        "index_bytes": 1_250_000,
    }
    scores = {"gold_passage": {"recall@1": figure, "mrr@10": figure, "recall_curve": curve}}
    return {"retriever": name, "milliseconds_per_question": 0.125, **measured, **scores, **changes}


REPORT = {
    "split": "validation", "questions": 4, "passages": 9, "top_k": 3, "gold_passages": 3, "in_corpus": 2,
    "answerable": 4,
    "retrievers": [
        row("A", [50, 60, 70]), row("B|c", [10, 20, 30], built=False, milliseconds_of_parts=[0.0625, 0.05])
    ],
}  # fmt: skip


def test_the_tables():
    assert (
        markdown(REPORT)
        == """\
4 questions (validation), 9 passages, top 3. Scores in percent with 95 % bootstrap intervals.

**Gold passage found** (of 3 questions, 1 of them about no passage here)

| retriever |            recall@1 |              mrr@10 |
| --------- | ------------------: | ------------------: |
| A         |  66.67 (50.0–100.0) |  66.67 (50.0–100.0) |
| B\\|c      |  66.67 (50.0–100.0) |  66.67 (50.0–100.0) |

**Time and size**

| retriever |         ms/question |  build s |         this run |  index MB |
| --------- | ------------------: | -------: | ---------------: | --------: |
| A         |                0.12 |      1.5 |   built in 2.0 s |       1.2 |
| B\\|c      |  0.12 (0.06 + 0.05) |      1.5 |  loaded in 2.0 s |       1.2 |
"""
    )


def test_the_tables_of_a_fusion():
    fusion = {
        "flags": "--fusion rrf --fusion_weights 0.5 1", "tuned_on_questions": 7, "held_out_questions": 5,
        "curve": [{"weights": [0.5, 1.0], "recall_at_5": 75.0, "mrr_at_10": 50.0}],
        "held_out": {"tuned": {"recall@5": {"mean": 80.0, "low": 75.0, "high": 85.0}}},
    }  # fmt: skip
    assert (
        fusion_markdown("H", fusion)
        == """\
**H**: --fusion rrf --fusion_weights 0.5 1

Tuned on 7 questions:

| weights |  recall@5 |  mrr@10 |
| ------- | --------: | ------: |
| 0.5 1   |     75.00 |   50.00 |

Measured on the 5 questions about the other passages:

| weights |           recall@5 |
| ------- | -----------------: |
| tuned   |  80.00 (75.0–85.0) |
"""
    )


def test_the_plot(tmp_path, monkeypatch):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (drawn.append(self), save(self, *args, **options))
    )
    plot(REPORT, tmp_path / "plot.png")
    (figure,) = drawn
    (axes,) = figure.axes  # one definition, one panel
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (
        "Gold passage found", "passages retrieved per question (k)", "recall@k (%)",
    )  # fmt: skip
    assert {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines} == {
        "A": ([1, 2, 3], [50, 60, 70]), "B|c": ([1, 2, 3], [10, 20, 30]),
    }  # fmt: skip
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B|c"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
