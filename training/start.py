"""The start of a training run, the same for every command: what is checked, claimed and set before data are read."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator, PartialState
from accelerate.utils import gather_object
from transformers import set_seed

from runtime.arguments import TrainingRunArguments
from runtime.device import default_device, keep_freed_memory, resolve_precision
from runtime.errors import UserError, WriteError
from runtime.files import writing
from runtime.fitting import largest_that_fits
from runtime.flags import default_of, fields_by_name, given_of, record_of, spelling_of
from runtime.hub import open_repository, upload_model
from runtime.interrupts import Interrupted
from runtime.locks import claimed
from runtime.log import configure_logging, get_logger
from runtime.output import check_output_dir, open_output_dir, read_record, warn_of_changes
from runtime.processes import main_process_does, open_accelerator, wait_for_all
from runtime.record import environment
from runtime.tracking import check_tracking
from training.checkpoint import find_state, newest_step

logger = get_logger(__name__)


@dataclass
class Start:
    """What a run starts with: its folder, the ``state`` to resume from (None: from scratch) and a resolved precision.

    ``accelerator`` is what :func:`start_run` made; a Trainer makes its own. :meth:`open` adds ``records``: what the run
    is, for its folder and for every model that it saves. ``opened`` says that the folder holds nothing of another run.
    """

    args: TrainingRunArguments
    folder: Path
    precision: str
    opened: bool
    state: Path | None = None
    records: dict[str, Any] = field(default_factory=dict)
    accelerator: Accelerator = field(init=False)

    def open(
        self, args: TrainingRunArguments, data: Mapping[str, str], resume: Callable[[Path], object] = lambda state: None
    ) -> None:
        """Go on from the state, if there is one, by ``resume(state)``, then make the folder this run's.

        ``records`` are written to it: the arguments, settled by now, and the environment with ``data``, a fingerprint
        of everything that is read. Until then an earlier run in the folder stays as it is.
        """
        processes = PartialState()
        record = environment(processes.device, self.precision, args.seed)
        record |= {"processes": processes.num_processes, "data": data, "given": given_of(args)}
        self.records = {"arguments": record_of(args), "environment": record}
        if self.state is not None:
            warn_of_changes(self.folder, self.records["arguments"])
            resume(self.state)
        if processes.is_main_process:
            open_output_dir(self.folder, self.opened, self.records)
            self.opened = True

    def fit_batch(self, args: Any, attempt: Callable[[int], object]) -> int:
        """Return ``args.per_device_train_batch_size``; ``auto`` is the usual size, or what of it ``attempt(size)`` can.

        What does not fit is accumulated, so that an optimizer step has as many rows. A resumed run takes the numbers
        that it began with.
        """
        if args.per_device_train_batch_size != "auto":
            return args.per_device_train_batch_size
        names = "per_device_train_batch_size", "gradient_accumulation_steps"
        if self.state is not None:
            record = read_record(self.folder / "arguments.json")
            size, steps = (record[name] for name in names)
        else:
            usual = size = default_of(fields_by_name(args)[names[0]])
            if default_device().type != "cpu":
                size = min(gather_object([largest_that_fits(attempt, usual)]))
            steps = args.gradient_accumulation_steps * (usual // size)
        for name, value in zip(names, (size, steps), strict=True):
            logger.info("--per_device_train_batch_size auto: --%s %d", name, value)
            setattr(args, name, value)
        return size


@contextmanager
def start_run(args: TrainingRunArguments, **options: Any) -> Iterator[Start]:
    """Start a run that trains with a :class:`training.loop.TrainingLoop`; see :func:`enter_run`.

    ``options`` are those of the accelerator.
    """
    precision = resolve_precision(args.precision, default_device())
    accelerator = open_accelerator(precision, **options)
    with enter_run(args, precision, find_state, newest_step) as start:
        start.accelerator = accelerator
        yield start


@contextmanager
def enter_run(
    args: TrainingRunArguments,
    precision: str,
    find_state: Callable[[Path, str | None, str], Path | None],
    newest_step: Callable[[Path], int | None],
) -> Iterator[Start]:
    """Keep the folder of a run, and that of its log, to it while the block runs; all processes of a run are one.

    ``find_state(folder, resume_from, flag)`` gives the state to resume from; ``flag`` is the one that names the folder.
    Raises :class:`UserError` where that state is not there, for a tracker that is not installed, where another command
    has the folders or they cannot be written, for a folder that holds a run which is neither to be resumed nor
    overwritten, and where --push_to_hub cannot work. After the block it uploads the model, if that is wanted. Ctrl-C or
    SIGTERM in the block is raised as :class:`Interrupted`, saying how the run goes on from ``newest_step(folder)``, the
    step whose state is saved; so is what the system refuses to write.
    """
    check_tracking(args)
    configure_logging(PartialState().is_main_process)
    flag = f"--{spelling_of(fields_by_name(args)['output_dir'])}"
    log, resume = Path(args.log_dir), args.resume_from_checkpoint is not None
    start = Start(args, Path(args.run_dir), precision, opened=resume)

    def claim() -> None:
        claims.enter_context(claimed(start.folder, flag))
        check_output_dir(start.folder, args.overwrite_output_dir, resume, flag)
        if log.resolve() != start.folder.resolve():
            claims.enter_context(claimed(log, "--logging_dir"))

    with ExitStack() as claims:
        main_process_does(claim)
        if args.push_to_hub:
            main_process_does(lambda: open_repository(args))
        try:
            start.state = find_state(start.folder, args.resume_from_checkpoint, flag)
            set_seed(args.seed)
            keep_freed_memory()
            with writing(start.folder):
                yield start
            if args.push_to_hub:
                main_process_does(lambda: upload_model(args))
            wait_for_all()
        except WriteError as error:
            raise UserError(f"{error}\n{_how_to_go_on(start, newest_step)}") from None
        except KeyboardInterrupt as interrupt:
            signum = getattr(interrupt, "signum", signal.SIGINT)
            raise Interrupted(signum, _how_to_go_on(start, newest_step)) from None


def _how_to_go_on(start: Start, newest_step: Callable[[Path], int | None]) -> str:
    if not start.opened:
        return "no step was taken or saved yet"
    step = newest_step(start.folder)
    way = "to go on, add --resume_from_checkpoint true to the same command"
    return f"{'no step' if step is None else f'step {step}'} is saved in {start.folder}\n{way}"
