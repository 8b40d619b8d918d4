"""One run in its folder, and how it goes on when it is interrupted."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.interrupts import Interrupted
from runtime.locks import claimed
from runtime.output import check_output_dir, open_output_dir
from runtime.processes import main_process_does


@dataclass
class RunFolder:
    """The folder of a run that goes on; ``opened`` once it holds nothing of an earlier run but what is resumed."""

    path: Path
    opened: bool

    def open(self, records: Mapping[str, Any]) -> None:
        """Do what :func:`open_output_dir` does."""
        open_output_dir(self.path, self.opened, records)
        self.opened = True


@contextmanager
def run_folder(
    path: str | Path,
    logging_dir: str | Path,
    overwrite: bool,
    resume: bool,
    newest_step: Callable[[Path], int | None],
    flag: str = "--output_dir",
) -> Iterator[RunFolder]:
    """Keep ``path``, and ``logging_dir``, to this run while the block runs; all processes of a run are one.

    Raises :class:`UserError` where another command has them, where ``path`` holds a run that is neither to be resumed
    nor overwritten, and where they cannot be written. Ctrl-C or SIGTERM in the block is raised as
    :class:`Interrupted`, saying how the run goes on from ``newest_step(path)``, the step whose state is saved.
    """
    path = Path(path)

    def claim() -> None:
        claims.enter_context(claimed(path, flag))
        check_output_dir(path, overwrite, resume, flag)
        if Path(logging_dir).resolve() != path.resolve():
            claims.enter_context(claimed(logging_dir, "--logging_dir"))

    with ExitStack() as claims:
        main_process_does(claim)
        folder = RunFolder(path, opened=resume)
        try:
            yield folder
        except KeyboardInterrupt as interrupt:
            signum = getattr(interrupt, "signum", signal.SIGINT)
            raise Interrupted(signum, _how_to_go_on(folder, newest_step)) from None


def _how_to_go_on(folder: RunFolder, newest_step: Callable[[Path], int | None]) -> str:
    if not folder.opened:
        return "no step was taken or saved yet"
    step = newest_step(folder.path)
    way = "to go on, add --resume_from_checkpoint true to the same command"
    return f"{'no step' if step is None else f'step {step}'} is saved in {folder.path}\n{way}"
