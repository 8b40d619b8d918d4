"""Uploads to the hub: refused at the start with a reason, and of a model's folder only what others need."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from huggingface_hub.utils import filter_repo_objects

import train_mrc
import train_mrc_v2
from arguments import TrainMRCArguments
from runtime.errors import UserError
from runtime.hub import open_repository, upload_model


class Hub:
    """In the place of ``HfApi``: notes what is asked of it, raises ``failures`` by the name of a method."""

    failures: dict[str, Exception]
    asked: list[tuple[str, Any]]
    role = "write"

    def __init__(self, token: str | None = None) -> None:
        self.asked.append(("token", token))

    def _do(self, what: str, facts: Any) -> None:
        self.asked.append((what, facts))
        if what in self.failures:
            raise self.failures[what]

    def whoami(self) -> dict[str, Any]:
        self._do("whoami", None)
        return {"name": "me", "auth": {"accessToken": {"role": self.role}}}

    def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> Any:
        self._do("create_repo", (repo_id, private, exist_ok))
        return SimpleNamespace(repo_id=repo_id if "/" in repo_id else f"me/{repo_id}")

    def upload_folder(self, repo_id: str, folder_path: str, **options: Any) -> None:
        files = [str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file()]
        patterns = {name: options[name] for name in ("allow_patterns", "ignore_patterns")}
        self._do("upload_folder", (repo_id, sorted(filter_repo_objects(files, **patterns))))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    """A hub in reach, which knows the user."""
    Hub.asked, Hub.failures, Hub.role = [], {}, "write"
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    return Hub


def arguments(**flags: Any) -> TrainMRCArguments:
    return TrainMRCArguments(push_to_hub=True, **{"output_dir": "saved/roberta", **flags})


def refused(status: int) -> HfHubHTTPError:
    response = httpx.Response(status, request=httpx.Request("POST", "https://huggingface.co"))
    return HfHubHTTPError(f"{status} from the hub\nmore of it", response=response)


def test_the_repository_is_made_at_the_start_and_named_after_the_run(hub: type[Hub]) -> None:
    args = arguments(hub_token="abc", hub_private_repo=True)
    open_repository(args)
    assert hub.asked == [("token", "abc"), ("whoami", None), ("create_repo", ("roberta", True, True))]
    assert args.hub_model_id == "me/roberta"
    open_repository(args := arguments(hub_model_id="team/reader"))
    assert hub.asked[-1] == ("create_repo", ("team/reader", None, True))
    assert args.hub_model_id == "team/reader"


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        ({"whoami": LocalTokenNotFoundError()}, "--push_to_hub: nobody is logged in to the hub; log in with"),
        ({"whoami": refused(401)}, "--push_to_hub: the hub does not know the token; log in with 'hf auth login'"),
        ({"create_repo": refused(403)}, "--push_to_hub: the token may not write there; log in with"),
        ({"create_repo": refused(500)}, "--push_to_hub: 500 from the hub"),
        ({"whoami": httpx.ConnectError("no route")}, "--push_to_hub: the hub cannot be reached: no route"),
    ],
)
def test_what_would_not_work_is_said_in_one_line(hub: type[Hub], failures: dict[str, Exception], reason: str) -> None:
    hub.failures = failures
    with pytest.raises(UserError) as error:
        open_repository(arguments())
    assert str(error.value).startswith(reason) and "\n" not in str(error.value)


def test_a_token_that_only_reads_is_refused(hub: type[Hub]) -> None:
    hub.role = "read"
    with pytest.raises(UserError, match="the token of me may only read; log in with"):
        open_repository(arguments())


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub.HfApi, "whoami", lambda self: {"name": "me"})
    with pytest.raises(UserError, match="--hub_model_id is no name of a repository: Repo id must be in the form"):
        open_repository(arguments(hub_model_id="a/b/c"))


@pytest.mark.parametrize("command", [train_mrc, train_mrc_v2])
def test_offline_is_said_before_anything_is_read(command: Any, tmp_path: Path) -> None:
    """The model is not there either."""
    words = ["--model", str(tmp_path / "none"), "--output_dir", str(tmp_path / "run"), "--push_to_hub"]
    with pytest.raises(UserError, match="--push_to_hub needs the hub, and HF_HUB_OFFLINE keeps away from it"):
        command.main(words + ["--do_train"] * (command is train_mrc_v2))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "encoders",
    [
        ["p_encoder/model.safetensors", "q_encoder/1_Pooling/config.json"],
        ["token_encoder/1_Dense/model.safetensors", "token_encoder/config.json"],
    ],
)
def test_of_a_retrievers_run_only_the_encoders_are_uploaded(
    encoders: list[str], hub: type[Hub], tmp_path: Path
) -> None:
    for name in (
        *encoders, "README.md", "metrics.json", "metrics.jsonl", "resume/step-00000001/optimizer.safetensors",
        "environment.json", "arguments.json", ".lock", "wandb/run.log",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    upload_model(arguments(hub_model_id="me/encoders", output_dir=str(tmp_path)))
    assert hub.asked[-1] == ("upload_folder", ("me/encoders", ["README.md", "metrics.json", *encoders]))


def test_an_upload_that_fails_says_where_the_model_is(hub: type[Hub], tmp_path: Path) -> None:
    hub.failures = {"upload_folder": refused(403)}
    with pytest.raises(UserError, match=f"the model is saved in {tmp_path}, but could not be uploaded .*again"):
        upload_model(arguments(output_dir=str(tmp_path)))


@pytest.mark.parametrize("command", [train_mrc, train_mrc_v2])
def test_the_best_reader_is_uploaded_once_when_the_run_is_over(
    command: Any, hub: type[Hub], training_command: list[str], tmp_path: Path
) -> None:
    words = [*training_command, "--push_to_hub", "--hub_model_id", "me/reader", "--hub_token", "abc"]
    command.main(words + ["--do_train"] * (command is train_mrc_v2))
    ((name, files),) = [facts for what, facts in hub.asked if what == "upload_folder"]
    assert name == "me/reader"
    assert set(files) == {
        "README.md", "config.json", "metrics.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "checksums.json",
    }  # fmt: skip
    (best,) = tmp_path.rglob("best")
    assert 'Reader.load("me/reader")' in (best / "README.md").read_text(encoding="utf-8")
    assert "abc" not in "".join(
        path.read_text(encoding="utf-8") for path in best.glob("*.json") if "token" not in path.name
    )
