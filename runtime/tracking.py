"""Experiment tracking: metrics.jsonl always, wandb where it is wanted. Never asks, never stops a run."""

from __future__ import annotations

import inspect
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.arguments import RunArguments
from runtime.errors import DataError, Problem, UserError
from runtime.files import json_text, write_text, writing
from runtime.log import get_logger
from runtime.strict_json import parse_json

logger = get_logger(__name__)

_LARGEST = 1e30  # of a figure that means something


class Tracker:
    """Write one JSON line per call of :meth:`log` to metrics.jsonl in ``arguments.log_dir``, and the same to wandb.

    A line ends with the ``time`` at which it was written: ``2026-03-14T09:26:53.589+00:00``, in UTC.
    A resumed run passes its ``start_step``: lines of later optimizer steps are dropped, since they come again.
    With ``active`` False, on secondary processes, nothing is written.
    """

    def __init__(
        self, arguments: RunArguments, config: dict[str, Any], start_step: int = 0, active: bool = True
    ) -> None:
        self._file = self._wandb_run = None
        if not active:
            return
        folder = Path(arguments.log_dir)
        path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(path) if line["step"] <= start_step] if start_step else []
        write_text(path, "".join(json_text(path, line) + "\n" for line in kept))
        if _wants_wandb(arguments):
            self._wandb_run = _start_wandb(arguments, config, folder)
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Record ``values`` at optimizer step ``step``."""
        if self._file is not None:
            time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            with writing(self._file.name):
                self._file.write(json_text(self._file.name, {"step": step, **values, "time": time}) + "\n")
                self._file.flush()
        self._tell_wandb("log", values, step=step)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._tell_wandb("finish", exit_code=int(kind is not None))

    def _tell_wandb(self, method: str, *args: Any, **options: Any) -> None:
        if self._wandb_run is None:
            return
        try:
            getattr(self._wandb_run, method)(*args, **options)
        except Exception as error:  # whatever wandb raises
            logger.warning("wandb failed, the run goes on without it: %s", error)
            self._wandb_run = None


def check_tracking(arguments: RunArguments) -> None:
    """Raise :class:`UserError` where wandb is wanted and not installed: called before the data are loaded."""
    if _wants_wandb(arguments):
        _import_wandb()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl``; a last line that was cut off when the run was killed is left out.

    Raises :class:`DataError` for lines that no run writes.
    """
    lines, problems = [], []
    texts = Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if Path(path).exists() else []
    for number, text in enumerate(texts, start=1):
        try:
            # earlier versions wrote NaN and Infinity, which are no JSON
            line = parse_json(text, parse_constant=lambda name: None)
            fault = _fault_of_line(line)
        except ValueError as error:
            if number == len(texts):
                break
            fault = f"is not valid JSON: {error}"
        if fault is None:
            lines.append(line)
        else:
            problems.append(Problem(str(path), f"line {number}", fault))
    if problems:
        raise DataError(problems, "Take these lines out, or start the run again in another folder.")
    return lines


def _fault_of_line(line: Any) -> str | None:
    """Return why ``line`` is none that :meth:`Tracker.log` writes."""
    if not isinstance(line, dict) or type(line.get("step")) is not int or not 0 <= line["step"] <= _LARGEST:
        return "is no object with the step of a run"
    for name, value in line.items():
        if name == "time":
            try:
                datetime.fromisoformat(value)
            except (TypeError, ValueError):
                return "has a time that is none"
        elif value is not None and not (isinstance(value, int | float) and abs(value) <= _LARGEST):
            return f"has a {name} that is no number"
    return None


def _wants_wandb(arguments: RunArguments) -> bool:
    named = arguments.wandb_project is not None or arguments.wandb_entity is not None
    return arguments.report_to == "wandb" or (arguments.report_to == "auto" and named)


def _start_wandb(arguments: RunArguments, config: dict[str, Any], folder: Path) -> Any:
    """Start a wandb run: online when logged in, else offline. A failure of wandb itself is a warning."""
    wandb = _import_wandb()
    try:
        logged_in = _is_logged_in(wandb)
        run = wandb.init(
            project=arguments.wandb_project or "odqa",
            entity=arguments.wandb_entity,
            name=Path(arguments.run_dir).name,
            notes=arguments.description,
            config=config,
            dir=str(folder),
            mode="online" if logged_in else "offline",
        )
    except Exception as error:
        logger.warning("wandb did not start, the run goes on without it: %s", error)
        return None
    logger.info("wandb is %s", "online" if logged_in else "offline (not logged in); upload later with wandb sync")
    return run


def _import_wandb() -> Any:
    try:
        import wandb
    except ImportError:
        raise UserError("tracking with wandb needs its package: pip install wandb, or --report_to none") from None
    return wandb


def _is_logged_in(wandb: Any) -> bool:
    """Whether wandb holds a key, asked without its asking for one: newer versions have a way, older ones wandb.api."""
    if "prompt" in inspect.signature(wandb.login).parameters:
        return wandb.login(prompt=False, verify=False)
    return bool(wandb.Settings().api_key or wandb.api.api_key)
