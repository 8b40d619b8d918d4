"""What the user can mend is said in one message; what he cannot keeps its traceback."""

from __future__ import annotations

import copy
import signal

import pytest

from runtime.errors import DataError, NotFiniteError, Problem, UserError, run_command
from runtime.interrupts import Interrupted


def _raise(error: BaseException):
    def main() -> None:
        raise error

    return main


def test_every_problem_is_listed_with_its_place() -> None:
    problems = [Problem("train.json", "row 3", "question is empty"), Problem("train.json", "", "is not UTF-8")]
    error = DataError(problems, "Correct these rows.")
    assert str(error).splitlines() == [
        "2 problems in the data:",
        "  train.json, row 3: question is empty",
        "  train.json: is not UTF-8",
        "Correct these rows.",
    ]
    assert (error.problems, error.way_out) == (problems, "Correct these rows.")
    assert str(DataError(iter(problems[:1]))) == "1 problem in the data:\n  train.json, row 3: question is empty"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("name a folder"), 2, "error: name a folder\n"),
        (DataError([Problem("a", "b", "c")]), 2, "error: 1 problem in the data:\n  a, b: c\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Interrupted(signal.SIGTERM, "step 4 is saved"), 143, "terminated: step 4 is saved\n"),
    ],
)
def test_a_command_ends_with_one_message_and_a_status(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(_raise(error))
    assert end.value.code == status
    assert capsys.readouterr() == ("", message)


def test_nothing_in_a_message_commands_the_terminal_or_passes_for_another_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = Problem("a.json", "id \x1b[2J\x1b]0;pwn\x07\nerror: fake", "holds \u202e and http://me:secret@host")
    with pytest.raises(SystemExit):
        run_command(_raise(DataError([problem])))
    assert capsys.readouterr().err == (
        "error: 1 problem in the data:\n"
        "  a.json, id \\x1b[2J\\x1b]0;pwn\\x07\\nerror: fake: holds \\u202e and http://***@host\n"
    )


def test_a_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(_raise(ZeroDivisionError()))


def test_a_command_that_works_just_returns(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")


def test_what_a_model_gives_travels_between_processes() -> None:
    error = NotFiniteError("--model a", "gives nothing", "train it")
    again = copy.copy(error)  # as pickle does it
    assert str(again) == str(error) == "--model a gives nothing: train it"
    assert (again.finding, str(NotFiniteError("the model", "is odd"))) == ("gives nothing", "the model is odd")
