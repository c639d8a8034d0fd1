"""Run a headstart classifier from its ONNX file with onnxruntime, Pillow and numpy alone: no headstart, no torch.

Copy this file beside the model. In Python: `OnnxClassifier("classifier.onnx").predict("photo.jpg")`; from a terminal:
`python runtime_onnx.py classifier.onnx photo.jpg`, which prints one line of JSON for each image.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

_REDUCED = 32_000_000  # pixels from which an image is halved while it is opened, as headstart does
_MOST_RESIZED = 16_000_000  # pixels after the resize; of longer strips only the middle is resized
_CPU = Path("/proc/cpuinfo")  # Linux lists the instruction sets there
SEAL = "headstart-sha256"  # key of the checksum in the model's metadata; files of before 0.3 have none


def checksum(content: bytes, seal: str) -> str:
    """SHA-256 of a file's bytes, with zeros in the place of the checksum that it holds."""
    return hashlib.sha256(content.replace(seal.encode(), b"0" * len(seal))).hexdigest()


class OnnxClassifier:
    """A classifier in an ONNX file that `headstart export` wrote; ValueError: it is no such file.

    Args:
        model: path of the file, or its bytes. threads: of one prediction; 0: as many as onnxruntime chooses.

    Attributes:
        classes: names in the order of the probabilities. card: all that the file says about itself.
        known: of the training images: names, distances, mean feature. outputs: name → shape of what `run` gives.
    """

    def __init__(self, model: str | Path | bytes, *, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        if not _CPU.exists() or "vnni" not in _CPU.read_text("utf-8"):  # there quick int8 kernels overflow
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            content = model if isinstance(model, bytes) else Path(model).read_bytes()
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            facts = self.session.get_modelmeta().custom_metadata_map
            self.card: dict[str, Any] = json.loads(facts["headstart"])
            self.known: dict[str, Any] = json.loads(facts.get("headstart-familiarity", "{}"))
            self._distances = np.array([*self.known.get("distances", []), np.inf], np.float32)
            self._names = dict(enumerate(self.known.get("names", [])))
            self.classes = tuple(self.card["classes"])
            self.outputs = {output.name: output.shape for output in self.session.get_outputs()}
            self.input, side = self.session.get_inputs()[0].name, self.session.get_inputs()[0].shape[-1]
            known = isinstance(self.card["classes"], list) and len({name for name in self.classes if str.strip(name)})
            if self.outputs["probabilities"][-1] != known or self.input not in ("image", "prepared"):
                raise ValueError("its outputs are not those of its classes")
            if self.input == "prepared" and self.prepare(np.zeros((9, 9, 3), np.uint8)).shape[-1] != side:
                raise ValueError("its network takes images of another size than its card says")
            self._threshold = np.float64((self.card.get("familiarity") or {}).get("threshold"))  # nan where it has none
            if (seal := facts.get(SEAL)) and checksum(content, seal) != seal:
                raise ValueError("it is damaged, or was altered since it was written")
        except Exception as error:  # onnxruntime has an error of its own for each kind of damage
            raise ValueError(f"not an ONNX file of headstart: {str(error).partition(chr(10))[0]}") from error

    def predict(self, image: str | Path | bytes) -> dict[str, Any]:
        """What `headstart predict` says of an image file, or of the bytes of one; ValueError: it cannot be opened."""
        return self.answer(self.run(self.open(image)))

    def run(self, *images: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs, N rows each, of N images H×W×3 uint8, RGB and upright: `probabilities`, `scores` (before the
        softmax), `features`, and where the file has them `familiar`, `nearest`, `set`, `atypical`."""
        ready = [self.prepare(image) if self.input == "prepared" else np.ascontiguousarray(image) for image in images]
        batches = [np.stack(ready)] if self.input == "prepared" else ready
        try:
            found = [self.session.run(list(self.outputs), {self.input: batch}) for batch in batches]
        except Exception as error:  # as above
            raise ValueError(f"the file cannot answer: {str(error).partition(chr(10))[0]}") from error
        if not all(np.isfinite(rows[list(self.outputs).index("probabilities")]).all() for rows in found):
            raise ValueError("the file's answers are no numbers: its weights are damaged")
        return {name: np.concatenate(rows) for name, rows in zip(self.outputs, zip(*found, strict=True), strict=True)}

    def answer(self, found: dict[str, np.ndarray], at: int = 0) -> dict[str, Any]:
        """What is said of image number `at`, from what `run` gave; None where the file does not say."""
        order = np.argsort(-(row := found["probabilities"][at]), kind="stable")
        familiar = percentile = None
        nearest = self._names.get(int(found["nearest"][at])) if "nearest" in found else None
        if "familiar" in found:
            distance, known = found["familiar"][at], self._distances
            familiar = None if np.isnan(self._threshold) else bool(distance <= self._threshold)
            percentile = 100 * int((known >= distance).sum()) / len(known) if len(known) > 1 else None
        members = tuple(self.classes[i] for i in order if found["set"][at, i]) if "set" in found else None
        atypical = bool(found["atypical"][at]) if "set" in found else None
        said: dict[str, Any] = {"label": self.classes[order[0]], "probability": float(row[order[0]])}
        said |= {"probabilities": {self.classes[i]: float(row[i]) for i in order}}
        said |= {"familiar": familiar, "familiarity_percentile": percentile, "nearest_image": nearest}
        return {**said, "prediction_set": members, "atypical": atypical}

    def open(self, image: str | Path | bytes) -> np.ndarray:
        """H×W×3 uint8: turned as its EXIF tag says, transparency over the background; ValueError: no usable image."""
        try:
            opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)  # of 179 megapixels at most
            factor = next((one for one in (1, 2, 4) if opened.width * opened.height <= _REDUCED * one**2), 8)
            if factor > 1 and opened.draft(opened.mode, (opened.width // factor, opened.height // factor)):
                factor = 1
            return np.asarray(self._rgb(ImageOps.exif_transpose(opened)).reduce(factor))
        except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise ValueError(f"cannot be opened: {error}") from error

    def _rgb(self, image: Image.Image) -> Image.Image:
        if image.mode[0] in "IF":  # 16 bits, or floats
            values, most = np.asarray(image).astype(np.float64), 2 ** self.card.get("bit_depth", 16) - 1
            if image.mode == "F" or values.min() < 0 or values.max() > 65535:
                raise ValueError("its values are no whole numbers of 16 bits: save it with 8 bits")
            image = Image.fromarray((values * (255 / most)).round().clip(0, 255).astype(np.uint8))
        if not image.has_transparency_data:
            return image.convert("RGB")
        below = Image.new("RGBA", image.size, (*self.card["background"], 255))
        return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        """3×S×S uint8 for the input `prepared`: resized and cropped as the classifier's card says, by Pillow."""
        card = self.card["preprocess"]
        side, crop, keep = card["resize"], card["crop"], card.get("fit") != "stretch"
        short, most = min(rgb.shape[:2]), max(_MOST_RESIZED // side**2, 2)
        if keep:
            rows, columns = (max(length - most * short, 0) // 2 for length in rgb.shape[:2])
            rgb = rgb[rows : rgb.shape[0] - rows, columns : rgb.shape[1] - columns]
        height, width = (side * length // short if keep else side for length in rgb.shape[:2])
        image = Image.fromarray(rgb).resize((width, height), Image.Resampling[card["interpolation"].upper()])
        left, top = (round(off / 2) if off > 0 else int(off / 2) for off in (width - crop, height - crop))
        return np.moveaxis(np.array(image.crop((left, top, left + crop, top + crop))), 2, 0)  # black beyond its edges


if __name__ == "__main__":
    try:
        classifier, failed = OnnxClassifier("classifier.onnx" if len(sys.argv) < 2 else sys.argv[1]), False
    except ValueError as error:
        sys.exit(f"{error}")
    for path in sys.argv[2:]:
        try:
            line = classifier.predict(path)
        except ValueError as error:
            failed, line = True, {"error": str(error)}
        print(json.dumps({"path": path, **line}))
    sys.exit(failed)
