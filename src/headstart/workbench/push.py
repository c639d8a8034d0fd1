"""push: a run to the Hugging Face hub, in one commit: classifier, ONNX file, parity, report and model card."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import ClassifierError, RunError
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.reports.model_card import is_permissive, model_card, stated_accuracy
from headstart.workbench.card import FILE as CARD
from headstart.workbench.card import card_in
from headstart.workbench.export import check_packages
from headstart.workbench.hub import FILES, ONNX, README, hub_errors, open_hub, repository
from headstart.workbench.run import Run
from headstart.workbench.session import Session


@dataclass(frozen=True)
class Pushed(Plain):
    """A run on the hub.

    Args:
        address: `hf://USER/NAME@COMMIT`, which `pull` takes. url: of the commit. files: that the commit holds.
    """

    address: str
    url: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        return f"Pushed {', '.join(self.files)} in one commit: {self.url}\nFetch it: headstart pull {self.address}"


@public_api
def push(
    run: str | Path | Run, to: str, *, accept_licence: bool = False, on_event: OnEvent | None = print_event
) -> Pushed:
    """Publish a run on the Hugging Face hub: classifier, ONNX file, parity and report where they are, and a model card.

    The card is model_card.md of the run, as `card` wrote it and you changed it; without one it is made. All files
    arrive in one commit or not at all. A repository that is not there is made, private. The report shows some of the
    run's images.

    Args:
        to: the repository, USER/NAME.
        accept_licence: pass on weights whose licence is unknown, or does not allow it for every use.

    Raises:
        RunError: there is no run; its weights' licence needs to be accepted; the hub refuses or cannot be reached.
        ClassifierError: the classifier or the ONNX file is damaged, or they do not belong together.
    """
    session, name = Session(on_event=on_event), repository(to)
    opened = run if isinstance(run, Run) else Run.load(run)
    _check_licence(str(opened.record["backbone"].get("licence") or ""), name, accepted=accept_licence)
    paths = {file: opened.folder / file for file in FILES if file != README and (opened.folder / file).is_file()}
    _check_files(opened, has_onnx=ONNX in paths)
    written = card_in(opened.folder)  # by `card`, and perhaps completed by the user
    accuracy = str(stated_accuracy(opened.evaluation))
    if written and accuracy not in written:  # copied from another run, or rewritten
        session.notice(
            f"The model card that is sent does not state this run's accuracy, {accuracy}. Remove "
            f"{opened.folder / CARD}, and headstart card {shlex.quote(str(opened.folder))} writes a new one."
        )
    card = written or model_card(opened.evaluation, opened.record, name=name.partition("/")[2])
    api = open_hub()
    with hub_errors(f"hf://{name}", expected="the hub to take the files"), session.step("push"):
        commit = _commit(api, name, {**paths, README: card.encode("utf-8", "replace")})
    return Pushed(f"hf://{name}@{commit.oid}", commit.commit_url, (*paths, README))


def _check_licence(licence: str, name: str, *, accepted: bool) -> None:
    if not accepted and not is_permissive(licence):
        raise RunError(
            expected="weights whose licence is known to let them be passed on",
            found=f"the licence {licence!r}" if licence else "no licence",
            where=f"push to {name}: nothing was sent",
            hint="If they are your own, or their terms let you publish them: --accept-licence "
            "(accept_licence=True in Python).",
        )


def _check_files(run: Run, *, has_onnx: bool) -> None:
    """Refuse a classifier that does not open, and an ONNX file that was made from another one."""
    classifier = run.classifier
    if not has_onnx:
        return
    check_packages()
    from headstart.onnx_export.classifier_onnx import fingerprint_of  # here: they need onnx
    from headstart.onnx_export.onnx_file import read_onnx

    if read_onnx(run.folder / ONNX).fingerprint != fingerprint_of(classifier):
        raise ClassifierError(
            expected="an ONNX file of the run's classifier",
            found="one of another classifier",
            where=run.folder / ONNX,
            hint=f"Export it again: headstart export {shlex.quote(str(run.folder))}",
        )


def _commit(api: Any, name: str, files: dict[str, Path | bytes]) -> Any:
    """One commit on top of the state that was seen: it adds the files, and removes those of an earlier model."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api.create_repo(name, private=True, exist_ok=True)
    seen = api.model_info(name)
    there = {one.rfilename for one in seen.siblings or ()}
    operations: list[Any] = [CommitOperationAdd(path, source) for path, source in files.items()]
    operations += [CommitOperationDelete(path) for path in FILES if path in there and path not in files]
    return api.create_commit(name, operations, commit_message="Add a headstart classifier", parent_commit=seen.sha)
