"""Ask a question: the answer, the next best ones, and the passages they were found in.

    python ask.py "첨성대는 돌을 몇 단으로 쌓았는가?" --model saved/quickstart --dataset_path data/mini_wiki

Without a question it asks for some, one after the other, until an empty line or the end of the input.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import AskArguments, check_command_line

    check_command_line(AskArguments)  # --help and mistakes are answered before the slow ones

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from arguments import AskArguments, parse_arguments
from pipeline import FoundAnswer, Pipeline
from retrieval import explanation
from retrieval.explanation import ExplainedQuestion
from runtime.device import keep_freed_memory
from runtime.errors import UserError, run_command
from runtime.log import configure_logging, show_only_warnings
from runtime.terminal import marked, one_line, shows_colour, terminal_width, wrapped
from runtime.text import is_blank

_AROUND = 300  # characters shown on either side of an answer


def parse(argv: Sequence[str] | None = None) -> AskArguments:
    """Parse the command line."""
    return parse_arguments(AskArguments, argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Answer the question of the command line, or those that are typed."""
    args = parse(argv)
    given = " ".join(args.question)
    if args.question:
        check_question(given)
    configure_logging()
    keep_freed_memory()
    pipeline = Pipeline.from_arguments(args)
    show_only_warnings()
    for question in [given] if args.question else typed_questions():
        (answers,) = pipeline.answer([question])
        why = pipeline.finder.explain(question, args.top_k_retrieval) if args.explain else None
        shown = as_json(question, answers, why) if args.json else as_text(question, answers[: args.show], why)
        print(shown, flush=True)


def typed_questions() -> Iterator[str]:
    """Yield the lines of standard input, asked for in a terminal, until an empty one or the end."""
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    if asks:
        with contextlib.suppress(ImportError):  # Windows has none
            import readline  # noqa: F401 (lets a line be edited, syllables of two columns too)
    while True:
        try:
            line = input("question> ") if asks else sys.stdin.readline()
        except EOFError:
            print()  # the shell's prompt comes on a line of its own
            return
        except UnicodeDecodeError as error:
            raise UserError(f"standard input is not UTF-8 (byte {error.start}): save the questions as UTF-8") from None
        if is_blank(line):
            return
        check_question(line)
        yield line.strip()


def check_question(question: str) -> None:
    """Raise :class:`UserError` for a blank question, or one with bytes that are no text."""
    if is_blank(question):
        raise UserError("the question is blank: write one, or none for a prompt")
    try:
        question.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"the question is not UTF-8 text (character {error.start + 1}): type it again") from None


def as_json(question: str, answers: Sequence[FoundAnswer], why: ExplainedQuestion | None = None) -> str:
    """Return one line of JSON: the question, the text of the best answer, all answers, and why passages were found.

    What would command a terminal or break the line is escaped, so that what is read from it is the text itself.
    """
    content: dict[str, Any] = {
        "question": question,
        "answer": answers[0].text if answers else "",
        "answers": [asdict(answer) for answer in answers],
    }
    if why is not None:
        content |= {"explanation": explanation.as_json(why)}
    line = json.dumps(content, ensure_ascii=False)
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in line)


def as_text(question: str, answers: Sequence[FoundAnswer], why: ExplainedQuestion | None = None) -> str:
    """Return the answers with their probabilities, then each passage once, its best answer marked, and why passages
    were found, as wide as the terminal."""
    width, colour = terminal_width(), shows_colour()
    lines = [wrapped(one_line(question), width, "question  ", " " * 10)]
    if not answers:
        return "\n".join([*lines, "answer    none was found", ""])
    for number, answer in enumerate(answers):
        label = "answer" if number == 0 else f"  {number + 1}."
        text = one_line(answer.text) or "(no answer)"
        lines.append(wrapped(text, width, f"{label:<8}{answer.probability:>5.2f}  ", " " * 15))
    passages = {answer.rank: answer for answer in reversed(answers) if answer.passage}  # the best answer of each
    for rank in dict.fromkeys(answer.rank for answer in answers if answer.rank in passages):
        answer = passages[rank]
        title = one_line(answer.title) or "(no title)"
        head = f"{title} (passage {rank}, score {answer.retrieval_score:.4g})"
        lines += ["", wrapped(head, width), wrapped(excerpt(answer), width, "  ", "  ", colour)]
    if why is not None:
        lines += ["", "Why these passages:", explanation.as_text(why).rstrip("\n")]
    return "\n".join([*lines, ""])


def excerpt(answer: FoundAnswer) -> str:
    """Return the passage around the answer, which is marked, for :func:`runtime.terminal.wrapped`."""
    first, last = max(answer.start - _AROUND, 0), answer.end + _AROUND
    shown = marked(answer.passage[first:last], answer.start - first, answer.end - first)
    return ("… " if first > 0 else "") + shown + (" …" if last < len(answer.passage) else "")


if __name__ == "__main__":
    run_command(main)
