"""explain: why images got their predictions: maps of the evidence, and the most similar training images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.data.image_set import Sample, scan_unlabelled
from headstart.data.images import BadImage, open_image
from headstart.data.output_record import output_folder, record_files
from headstart.errors import DataError
from headstart.features.matrix import Features
from headstart.files import all_or_none, atomic_write, os_errors
from headstart.heads.knn import nearest
from headstart.inspection.attribution.attribution import explain as explain_images
from headstart.inspection.attribution.attribution import methods_for
from headstart.inspection.attribution.explanation import Explanation, SimilarImage
from headstart.inspection.attribution.saliency import AUTO, METHODS
from headstart.inspection.inspected_images import InspectedImages
from headstart.output_paths import writable_folder
from headstart.progress import OnEvent, OnProgress, print_event
from headstart.public_api import public_api
from headstart.workbench.events import FilesWritten
from headstart.workbench.run import Run, Trained, classifier_of, find_run
from headstart.workbench.run_rows import places_in
from headstart.workbench.session import Session

SIMILAR = 3  # training images beside each prediction
_AT_ONCE = 8  # images explained between two progress events

_NONE = "Name another image; of a video, save a frame as an image first."


@public_api
def explain(
    classifier: Trained,
    images: str | Path | Sequence[str | Path],
    *,
    method: str | Sequence[str] = AUTO,
    class_name: str | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    on_event: OnEvent | None = print_event,
) -> tuple[Explanation, ...]:  # seven: what to explain, how, and where to write it
    """Show the parts of each image that its prediction rests on, and the most similar training images.

    Args:
        classifier: a file, the folder of a run, a Run, or a loaded Classifier; with its run beside it, training
            images are shown.
        images: files and folders. An unreadable one is reported and left out.
        method: `grad-cam`, `integrated-gradients`, `occlusion`, several of them, or `all` that the network allows;
            `auto`: Grad-CAM where it has feature maps, else, as in most transformers, occlusion.
        class_name: the class to explain; None: each image's most probable one.
        out: folder for one PNG per image, beside what is there already; None: nothing is written.
        seed: of the sanity check, which shuffles weights.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: a path does not exist, or no image can be read.
        RecipeError: the method or the class is unknown.
    """
    session = Session(on_event=on_event)
    if out is not None:
        out = writable_folder(out)
    model = classifier_of(classifier, verb="explain", images=images)
    run, why_not = find_run(classifier, model)
    named = [Path(images)] if isinstance(images, (str, Path)) else [Path(image) for image in images]
    files = scan_unlabelled(named, on_skip=session.notice)
    if run is None:
        session.notice(f"No training images are shown: {why_not}.")
    if (low := model.backbone.low_precision) is not None:
        session.notice(f"It predicts in {low.name}; the maps are of the same weights in float32, which has gradients.")
    methods = (method,) if isinstance(method, str) else tuple(method)
    training = None if run is None else _TrainingImages(run, model)
    progress, found = session.progress("explain"), list[Explanation]()
    with session.step("explain"):
        for begin in range(0, len(files), _AT_ONCE):
            samples = [Sample(file, str(file)) for file in files[begin : begin + _AT_ONCE]]
            read = session.read(samples, model.backbone.preprocess, model.rules, classes=model.classes)
            if not len(read):
                continue
            methods = _named(session, model, read, methods=methods)
            explained = explain_images(
                model,
                read,
                methods=methods,
                class_name=class_name,
                seed=seed,
                on_progress=_among(progress, before=begin, files=len(files)),
            )
            similar = [()] * len(explained) if training is None else training.most_similar(read)
            found += [replace(one, similar=images) for one, images in zip(explained, similar, strict=True)]
            progress(min(begin + _AT_ONCE, len(files)), len(files))
    if not found:
        raise DataError(expected="an image that can be read", found="none", where=str(files[0]), hint=_NONE)
    if out is not None:
        _write(session, Path(out), found)
    return tuple(found)


def _named(session: Session, model: Classifier, read: InspectedImages, *, methods: Sequence[str]) -> tuple[str, ...]:
    """The methods by name; where Grad-CAM is not possible that is said before the maps, which then take long."""
    named = methods_for(model, read, methods)
    if AUTO in methods and named[0] != METHODS[0]:
        session.notice(f"The network has no feature maps for Grad-CAM; the method is {named[0]}.")
    return named


def _among(progress: OnProgress, *, before: int, files: int) -> OnProgress:
    """The progress of some of the files as that of all: `before` of them are done."""
    return lambda done, _: progress(before + done, files)


class _TrainingImages:
    """The training images of a run by their features."""

    def __init__(self, run: Run, model: Classifier) -> None:
        self.model = model
        self.rows = [row for row in run.predictions() if row["split"] == "train"]
        self.root = Path(run.record["source"])
        features = run.features
        self.view = features.view(places_in(features, self.rows, run.folder), model.head.stages)

    def most_similar(self, images: InspectedImages) -> list[tuple[SimilarImage, ...]]:
        """For each image the most similar training images; an image is not shown beside itself."""
        with torch.inference_mode():
            matrix = self.model.backbone.features(images.pixels).numpy()
        slices = {name: (part.start, part.stop) for name, part in self.model.backbone.slices.items()}
        contents = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in images.paths)
        features = Features(matrix, slices, images.names, contents)
        queries = features.view(np.arange(len(matrix)), self.model.head.stages)
        cosines, places = nearest(self.view, queries, min(SIMILAR + 1, len(self.rows)))
        return [self._best(contents[i], cosines[i], places[i]) for i in range(len(matrix))]

    def _best(self, content: str, cosines: NDArray[np.float64], places: NDArray[np.int64]) -> tuple[SimilarImage, ...]:
        pairs = [(self.rows[int(place)], float(cosine)) for place, cosine in zip(places, cosines, strict=True)]
        others = [(row, cosine) for row, cosine in pairs if row["sha256"] != content][:SIMILAR]
        return tuple(
            SimilarImage(row["path"], row["label"], cosine, self._picture(row["path"])) for row, cosine in others
        )

    def _picture(self, name: str) -> NDArray[np.uint8] | None:
        """As the classifier sees it; None where the file is no longer where it was, or lay in an archive."""
        try:
            prepared = self.model.backbone.preprocess.prepare(open_image(self.root / name, self.model.rules).rgb)
        except (BadImage, OSError):
            return None
        picture: NDArray[np.uint8] = prepared.permute(1, 2, 0).numpy()
        return picture


@dataclass
class _Names:
    """File names that are given once only; those in the folder count, for they may be the photographs themselves."""

    given: set[str]

    def of(self, image: str) -> str:
        """`photo.png`, or `photo-2.png` when that is taken."""
        stem, number = Path(image).stem, 1
        while (name := f"{stem}.png" if number == 1 else f"{stem}-{number}.png").casefold() in self.given:
            number += 1
        self.given.add(name.casefold())  # on some systems a.png and A.PNG are one file
        return name


def _write(session: Session, folder: Path, explanations: Sequence[Explanation]) -> None:
    written = list[str]()
    with all_or_none():
        output_folder(folder)
        with os_errors(folder, expected="a folder that can be read"):
            names = _Names({file.name.casefold() for file in folder.iterdir()})
        for one in explanations:
            name = names.of(one.image)
            with atomic_write(folder / name, expected="a folder that can be written") as part:
                one.figure().savefig(part, format="png")
            written.append(name)
        record_files(folder, written)
    session.on_event(FilesWritten(folder, tuple(written), ""))
