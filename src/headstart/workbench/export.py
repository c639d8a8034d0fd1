"""export: a classifier as one file that runs without headstart and torch, compared with it before it is written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.classifier.classifier import Classifier
from headstart.classifier.file import EXPORTED
from headstart.data.image_set import scan_unlabelled
from headstart.engines.onnxruntime_engine import INSTALL, missing_packages
from headstart.errors import ClassifierError, DataError, RecipeError, RunError, near
from headstart.files import FOR_OUT, all_or_none, atomic_write, make_folder, write_json
from headstart.output_paths import writable_folder
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.workbench.events import FilesWritten
from headstart.workbench.quantize_run import QuantizedRun, quantize_run
from headstart.workbench.run import CLASSIFIER, RECORD, Run, Trained, classifier_of
from headstart.workbench.session import Session

FORMATS = ("onnx", "onnx-int8", "openvino", "page")
INPUTS = ("image", "prepared")
MODEL, PARITY, PAGE, RUNTIME = EXPORTED, "parity.json", "parity.html", "runtime_onnx.py"
CARD = "classifier.json"  # of a page
_SERVE = "python -m http.server --bind 127.0.0.1 --directory {}"  # a browser opens no modules from file://
COMPARED = 64  # images of the user's; with those headstart draws a minute on one core at most
_FOLDERS = {  # beside the classifier
    "onnx": "export",
    "onnx-int8": "export-int8",
    "openvino": "openvino",
    "page": "page",
}


@dataclass(frozen=True)
class ExportResult(Plain):
    """An exported classifier.

    Args:
        folder: where the files are. files: their names. input: what the model takes. parity: how it was compared.
    """

    folder: Path
    files: tuple[str, ...]
    input: str
    parity: Any  # a ParityReport, whose module needs onnx

    def __str__(self) -> str:
        return f"{self.folder / MODEL} gives the classifier's answers.\n{self.parity}"


@public_api
def export(
    classifier: Trained,
    *,
    to: str = "onnx",
    input: str = "image",
    images: str | Path | None = None,
    out: str | Path | None = None,
    ort_web: str | Path | None = None,
    on_event: OnEvent | None = print_event,
) -> ExportResult:  # seven: what is exported, in which form, what it is compared on, where it goes
    """Write a classifier as one ONNX file with its preprocessing inside, after comparing their answers.

    Nothing is written unless the file gives the same class on every image (ties left out) and probabilities within
    0.005 (bilinear resize) or 0.01 (bicubic), on at least 64 images and on 13 of unusual shape and kind.

    Args:
        classifier: a file, the folder of a run, a Run, or a loaded Classifier.
        to: `onnx`: the file, and what runs it in Python. `onnx-int8`: the same in int8; the
            network of a float32 run is quantised and its head solved again, and its accuracy must hold.
            `openvino`: the form for resized images, compared as OpenVINO runs it. `page`: a web page that runs it in
            the browser, for any static host, with the files of onnxruntime-web (14 MB).
        input: `image`: one image of any size, resize and crop inside; `prepared`: many resized images at once.
        images: folder of images to compare on; None: those of the run.
        out: folder to write; None: `export`, `openvino` or `page` beside the classifier. Other files there stay; only
            an older export of the same form is replaced.
        ort_web: folder or npm tarball with the files of onnxruntime-web; None: a page fetches them once.

    Returns:
        ExportResult: the folder holds classifier.onnx, parity.json, parity.html, and what runs it: runtime_onnx.py, or
            index.html and its files.

    Raises:
        BackboneError: a package is missing, or the network has no ONNX form.
        ClassifierError: the classifier cannot be opened, or the file does not give its answers.
        RunError: a file is in the way that no export wrote.
        DataError: there are no images to compare on, or no files of onnxruntime-web. DownloadError: they cannot be
            fetched.
    """
    check_choice(to, FORMATS, "--to")
    check_choice(input, INPUTS, "--input")
    session, folder = Session(on_event=on_event), _folder_of(classifier, out, _FOLDERS[to])
    input, engine = ("prepared", "openvino") if to == "openvino" else (input, "onnxruntime")
    model = classifier_of(classifier)
    _check_options(to, input, ort_web)
    check_packages()
    check_graph(model, to)
    beside = _page_files(session, model, ort_web) if to == "page" else _runtime_files()
    _check_place(folder, (MODEL, PARITY, PAGE, *beside, *((CLASSIFIER,) if to == "onnx-int8" else ())))
    quantized = _quantized(session, classifier, model) if to == "onnx-int8" else None
    model = model if quantized is None else quantized.classifier
    from headstart.onnx_export.classifier_onnx import build_onnx  # here: it needs onnx
    from headstart.onnx_export.onnx_file import sealed

    compared = images_of(classifier, images)
    with session.step("export"):
        built = build_onnx(model, input=input)
    report = compare_answers(session, compared, built=built, model=model, engine=engine)
    if quantized is not None:
        report = replace(report, accuracy=quantized.accuracy)
    _check_report(report, folder, input)
    own = None if quantized is None else quantized.classifier
    files = _write(folder, sealed(built), report, beside=beside, classifier=own)
    place = shlex.quote(str(folder if to == "page" else folder / MODEL))
    following = _SERVE.format(place) if to == "page" else f"headstart predict {place} NEW_IMAGES"
    session.on_event(FilesWritten(folder, files, following))
    return ExportResult(folder, files, input, report)


def _check_place(folder: Path, names: Sequence[str]) -> None:
    """Refuse to write over what an export did not write: a site's index.html, a run's classifier, another's model."""
    is_older = (folder / PARITY).is_file()  # written first
    of_run = CLASSIFIER if (folder / RECORD).exists() else ""
    of_page = "" if CARD in names else CARD  # it would go on with the classes of the page's own model
    for name in (*names, of_page):
        path = folder / name
        stays = path.is_file() and is_older and name not in (of_run, of_page)
        if name and os.path.lexists(path) and not stays:
            raise RunError(
                expected="a new folder, or one of an older export of the same form",
                found=f"{name}, which would be replaced or belongs to another export",
                where=folder,
                hint="Choose another folder with --out, or move that file.",
            )


def _check_report(report: Any, folder: Path, input: str) -> None:
    if not report.problems:
        return
    if report.loss:
        hint = "Export it in float32: --to onnx."
    else:
        hint = "Export the form for resized images: --input prepared." if input == "image" else "Report this network."
    raise ClassifierError(
        expected="a file that gives the classifier's answers",
        found=" ".join(report.problems),
        where=str(folder),
        hint=f"Nothing was written. {hint}",
    )


def check_choice(value: str, allowed: Sequence[str], option: str) -> None:
    """Refuse a value that is not among those allowed.

    Raises:
        RecipeError: with the nearest.
    """
    if value not in allowed:
        raise RecipeError(expected=" or ".join(allowed), found=repr(value), where=option, hint=near(value, allowed))


def check_packages() -> None:
    """Refuse to go on without onnx and onnxruntime.

    Raises:
        ClassifierError: one of them is missing.
    """
    missing = missing_packages()
    if missing:
        raise ClassifierError(
            expected="the packages for ONNX files", found=f"no {', '.join(missing)}", hint=f"{INSTALL}."
        )


def images_of(classifier: Trained, images: str | Path | None, most: int = COMPARED) -> list[Path]:
    """Image files to compare answers on: of the folder, or of the classifier's run, test images first.

    Args:
        most: so many of a longer list, evenly.

    Raises:
        DataError: there are none.
    """
    if images is not None:
        return _evenly(scan_unlabelled([Path(images)]), most)
    run = _run_of(classifier)
    paths = [] if run is None else _images_of_run(run)
    if not paths:
        raise DataError(
            expected="images to compare the file with the classifier on",
            found="no run beside the classifier" if run is None else "none of the run's images in their place",
            where="export",
            hint="Name a folder of images like those it was trained on: --images FOLDER.",
        )
    return _evenly(paths, most)


def compare_answers(
    session: Session, paths: Sequence[Path], *, built: Any, model: Classifier, engine: str = "onnxruntime"
) -> Any:
    """ParityReport of an ONNX model beside its classifier, on files and on images of unusual shape and kind.

    Args:
        engine: what runs the model: onnxruntime or openvino.

    Raises:
        DataError: none of the files can be read.
    """
    from headstart.onnx_export.parity import measure_parity  # here: they need onnx
    from headstart.onnx_export.parity_images import odd_images

    drawn = odd_images()
    files = {str(path): path for path in paths}
    images: dict[str, Path | bytes] = {**files, **drawn}
    report = measure_parity(built, model, images, engine=engine, progress=session.progress("compare"))
    if not any(row.name in files for row in report.rows):
        found = next(iter(report.left_out.values()), "none")
        raise DataError(
            expected="an image that can be read",
            found=found,
            where=str(paths[0]),
            hint="Name other images with --images.",
        )
    for name, reason in report.left_out.items():
        session.notice(f"{name} is left out: {reason}")
    return report


def _run_of(classifier: Trained) -> Run | None:
    if isinstance(classifier, (Run, Classifier)):
        return classifier if isinstance(classifier, Run) else None
    path = Path(classifier)
    folder = path if path.is_dir() else path.parent
    return Run.load(folder) if (folder / "run.json").is_file() else None


def _images_of_run(run: Run) -> list[Path]:
    root = Path(run.record["source"])
    rows = sorted(run.predictions(), key=lambda row: row["split"] != "test")
    tests = [root / row["path"] for row in rows if row["split"] == "test"]
    others = [root / row["path"] for row in rows if row["split"] != "test"]
    tests, others = ([path for path in paths if path.is_file()] for paths in (tests, others))
    return tests if len(tests) >= COMPARED else [*tests, *_evenly(others, COMPARED - len(tests))]


def _evenly(paths: Sequence[Path], most: int) -> list[Path]:
    return [paths[i * len(paths) // most] for i in range(most)] if len(paths) > most else list(paths)


def check_graph(model: Classifier, to: str = "onnx") -> None:
    """Refuse a classifier that the form cannot be of.

    The head of one in bfloat16 is solved on features that no graph gives.

    Raises:
        ClassifierError: it is one, or OpenVINO is wanted and not installed.
    """
    low = model.backbone.low_precision
    if to == "openvino":
        from headstart.onnx_export.openvino_session import require_openvino

        require_openvino()
    if low is not None and not low.model:
        raise ClassifierError(
            expected="a classifier in float32 or int8",
            found=f"one in {low.name}",
            where="export",
            hint="Train again with --precision float32 or int8, and export that.",
        )


def _quantized(session: Session, classifier: Trained, model: Classifier) -> QuantizedRun | None:
    """The run in int8; None where it is already."""
    if model.backbone.low_precision is not None:
        return None
    run = _run_of(classifier)
    if run is None:
        raise ClassifierError(
            expected="the run of the classifier: int8 is calibrated, and its head solved, on the run's training images",
            found="no run beside it",
            where="--to onnx-int8",
            hint="Name the folder of the run, or train: headstart train --precision int8.",
        )
    return quantize_run(session, run)


def _check_options(to: str, input: str, ort_web: object) -> None:
    if to == "page" and input != "image":
        raise RecipeError(
            expected="--input image with --to page, which takes photographs as they are",
            found=f"--input {input}",
            where="--input",
            hint="Leave --input out.",
        )
    if to != "page" and ort_web is not None:
        raise RecipeError(
            expected="--to page with --ort-web",
            found=f"--to {to}",
            where="--ort-web",
            hint="Leave --ort-web out, or add --to page.",
        )


def _folder_of(classifier: Trained, out: str | Path | None, name: str) -> Path:
    if out is not None:
        return writable_folder(out)
    if isinstance(classifier, Classifier):
        return Path(name)
    path = classifier.folder if isinstance(classifier, Run) else Path(classifier)
    return (path if path.is_dir() else path.parent) / name


def _runtime_files() -> dict[str, bytes]:
    from headstart import runtime_onnx

    return {RUNTIME: Path(str(runtime_onnx.__file__)).read_bytes()}


def _page_files(session: Session, model: Classifier, ort_web: str | Path | None) -> dict[str, bytes]:
    from headstart.onnx_export.ort_web import ort_web_files
    from headstart.onnx_export.page_files import page_files

    given = None if ort_web is None else Path(ort_web)
    return {**ort_web_files(given, ort_web_cache()), **page_files(model)}


def ort_web_cache() -> Path:
    """Where the files of onnxruntime-web are kept that were fetched once."""
    return runtime.cache_folder() / "onnxruntime-web"


def _write(
    folder: Path, model: bytes, report: Any, *, beside: Mapping[str, bytes], classifier: Classifier | None
) -> tuple[str, ...]:
    """The model last: where it lies, its report and what runs it lie too.

    Args:
        classifier: the one that the export made, which `check` compares with; None: it lies elsewhere.
    """
    from headstart.reports.parity_page import write_parity_page

    with all_or_none():
        make_folder(folder)
        write_json(folder / PARITY, report.to_dict(), hint=FOR_OUT)
        write_parity_page(folder / PAGE, report, file=MODEL)
        if classifier is not None:
            classifier.save(folder / CLASSIFIER)
        for name, content in (*beside.items(), (MODEL, model)):
            with atomic_write(folder / name, hint=FOR_OUT) as part:
                part.write_bytes(content)
    own = () if classifier is None else (CLASSIFIER,)
    return MODEL, PARITY, PAGE, *own, *reversed(list(beside))
