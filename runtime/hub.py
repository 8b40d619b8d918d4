"""The Hugging Face hub as a place to upload a trained model to: what could go wrong is found before training starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.arguments import TrainingRunArguments
from runtime.errors import UserError
from runtime.log import get_logger

logger = get_logger(__name__)

_LOG_IN = "log in with 'hf auth login', or set HF_TOKEN to a token that may write"
# They name folders and the machine; the model card has what matters of them.
_STAYS_HERE = ["arguments.json", "environment.json", ".*"]
_ENCODERS = ["p_encoder/*", "q_encoder/*", "token_encoder/*", "README.md", "metrics.json"]


def open_repository(args: TrainingRunArguments) -> None:
    """Make the repository that ``--push_to_hub`` uploads to, unless it is there, and let ``args`` name it in full.

    Raises :class:`UserError` where the hub cannot be reached, nobody is logged in, or the token may not write there.
    """
    import huggingface_hub

    if huggingface_hub.is_offline_mode():
        raise UserError("--push_to_hub needs the hub, and HF_HUB_OFFLINE keeps away from it: set HF_HUB_OFFLINE=0")
    hub = huggingface_hub.HfApi(token=args.hub_token)
    with _explained("--push_to_hub"):
        user = hub.whoami()
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise UserError(f"--push_to_hub: the token of {user['name']} may only read; {_LOG_IN}")
        args.hub_model_id = hub.create_repo(_name(args), private=args.hub_private_repo, exist_ok=True).repo_id
    logger.info("the model will be uploaded to %s", args.hub_model_id)


def upload_model(args: TrainingRunArguments) -> None:
    """Upload the model of a run, its ``best/`` or its encoders, to the repository that :func:`open_repository` made.

    Weights, configuration, tokenizer, metrics and model card go there; records of the machine, the states of training
    and logs stay. Raises :class:`UserError`, saying where the model is, where the upload fails.
    """
    import huggingface_hub

    hub = huggingface_hub.HfApi(token=args.hub_token)
    run, best = Path(args.run_dir), Path(args.run_dir) / "best"
    folder, patterns = (best, None) if best.is_dir() else (run, _ENCODERS)
    again = "the same command with --resume_from_checkpoint true tries again"
    with _explained(f"the model is saved in {folder}, but could not be uploaded ({again})"):
        hub.upload_folder(
            repo_id=_name(args),
            folder_path=folder,
            commit_message="Upload a trained model",
            allow_patterns=patterns,
            ignore_patterns=_STAYS_HERE,
        )
    logger.info("uploaded to %s", _name(args))


def _name(args: TrainingRunArguments) -> str:
    return args.hub_model_id or Path(args.run_dir).resolve().name


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn whatever the hub, or the way to it, raises into a :class:`UserError` that begins with ``what``."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        yield
    except LocalTokenNotFoundError:
        raise UserError(f"{what}: nobody is logged in to the hub; {_LOG_IN}") from None
    except HFValidationError as error:
        raise UserError(f"{what}: --hub_model_id is no name of a repository: {_first_line(error)}") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        reasons = {401: f"the hub does not know the token; {_LOG_IN}", 403: f"the token may not write there; {_LOG_IN}"}
        raise UserError(f"{what}: {reasons.get(status or 0, _first_line(error))}") from None
    except UserError:
        raise
    except Exception as error:  # of whatever makes the connection
        raise UserError(f"{what}: the hub cannot be reached: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
