"""Commands that exist in tests alone, what they refuse, and their files of flags."""

from __future__ import annotations

import pytest
from made_up_commands import MADE_UP, Command, parse

from runtime.flags import COMMANDS


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for file, arguments in MADE_UP.items():
        monkeypatch.setitem(COMMANDS, file, arguments)


@pytest.fixture
def refusal(registered: None, capsys: pytest.CaptureFixture[str]):
    """Return the complaints about a command line that is refused."""

    def refuse(words: str | list[str], arguments_class: type = Command) -> list[str]:
        with pytest.raises(SystemExit) as end:
            parse(words, arguments_class)
        assert end.value.code == 2
        shown = capsys.readouterr()
        *complaints, hint = shown.err.splitlines()
        file = arguments_class.command
        assert (shown.out, hint) == ("", f"see python {file} --help")
        assert complaints and all(complaint.startswith(f"{file}: error: ") for complaint in complaints)
        return [complaint.removeprefix(f"{file}: error: ") for complaint in complaints]

    return refuse
