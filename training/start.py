"""The start of a training run, the same for every command: what is checked, claimed and set before data are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator, PartialState

from runtime.arguments import TrainingRunArguments
from runtime.command_line import fields_by_name, record_of, spelling_of
from runtime.device import default_device, keep_freed_memory, resolve_precision
from runtime.log import configure_logging
from runtime.output import warn_of_changes
from runtime.processes import open_accelerator, wait_for_all
from runtime.record import environment
from runtime.seeding import set_seed
from runtime.tracking import check_tracking
from training.checkpoint import find_state, newest_step
from training.run_folder import RunFolder, run_folder


@dataclass
class RunStart:
    """What a run starts with: its folder, the ``state`` to resume from (None: from scratch) and a resolved precision.

    :meth:`open` adds ``records``: what the run is, for its folder and for every model that it saves.
    """

    args: TrainingRunArguments
    folder: RunFolder
    state: Path | None
    precision: str
    records: dict[str, Any] = field(default_factory=dict, init=False)

    def open(
        self, args: TrainingRunArguments, data: Mapping[str, str], resume: Callable[[Path], object] = lambda state: None
    ) -> None:
        """Go on from the state, if there is one, by ``resume(state)``, then open the folder and write the records.

        They are the arguments, settled by now, and the environment with ``data``, a fingerprint of everything that is
        read. Up to here an earlier run in the folder stays as it is.
        """
        processes = PartialState()
        record = environment(processes.device, self.precision, args.seed)
        record |= {"processes": processes.num_processes, "data": data}
        self.records = {"arguments": record_of(args), "environment": record}
        if self.state is not None:
            warn_of_changes(self.folder.path, self.records["arguments"])
            resume(self.state)
        if processes.is_main_process:
            self.folder.open(self.records)


@dataclass
class Start(RunStart):
    """The start of a run whose processes are held together by an ``accelerator``; a Trainer makes its own."""

    accelerator: Accelerator


@contextmanager
def start_run(args: TrainingRunArguments, **options: Any) -> Iterator[Start]:
    """Start a run that trains with a :class:`training.loop.TrainingLoop`; see :func:`enter_run`.

    ``options`` are those of the accelerator.
    """
    precision = resolve_precision(args.precision, default_device())
    accelerator = open_accelerator(precision, **options)
    with enter_run(args, precision, find_state, newest_step) as start:
        yield Start(start.args, start.folder, start.state, start.precision, accelerator)


@contextmanager
def enter_run(
    args: TrainingRunArguments,
    precision: str,
    find_state: Callable[[Path, str | None, str], Path | None],
    newest_step: Callable[[Path], int | None],
) -> Iterator[RunStart]:
    """Keep the folder of a run to it while the block runs; the processes of a run enter and leave together.

    ``find_state(folder, resume_from, flag)`` gives the state to resume from, ``newest_step(folder)`` the step of the
    newest; ``flag`` is the one that names the folder. Raises :class:`UserError` for a tracker that is not installed, a
    folder that cannot be used (see :func:`training.run_folder.run_folder`) and a state that is not there.
    """
    check_tracking(args)
    flag = f"--{spelling_of(fields_by_name(args)['output_dir'])}"
    configure_logging(PartialState().is_main_process)
    resume = args.resume_from_checkpoint is not None
    with run_folder(args.run_dir, args.log_dir, args.overwrite_output_dir, resume, newest_step, flag) as folder:
        state = find_state(folder.path, args.resume_from_checkpoint, flag)
        set_seed(args.seed)
        keep_freed_memory()
        yield RunStart(args, folder, state, precision)
        wait_for_all()
