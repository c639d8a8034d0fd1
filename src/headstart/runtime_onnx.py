"""Run a headstart classifier from its ONNX file with onnxruntime, Pillow and numpy alone: no headstart, no torch.

Copy this file beside the model. In Python: `OnnxClassifier("classifier.onnx").predict("photo.jpg")`; from a terminal:
`python runtime_onnx.py classifier.onnx photo.jpg`, which prints one line of JSON for each image.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MOST_PIXELS = 210_000_000  # above the largest phone camera (201 million); more is refused before it is decoded
_REDUCED = 32_000_000  # pixels from which an image is halved while it is opened, as headstart does
_MOST_RESIZED = 16_000_000  # pixels after the resize; of longer strips only the middle is resized
_CPU = Path("/proc/cpuinfo")  # Linux lists the instruction sets there


class OnnxClassifier:
    """A classifier in an ONNX file that `headstart export` wrote.

    Args:
        model: path of the file, or its bytes. threads: of one prediction; 0: as many as onnxruntime chooses.

    Attributes:
        classes: names in the order of the probabilities. card: all that the file says about itself.
        outputs: names of what `run` can give. told: those that an answer is made of.
        training: mean of the training features and the columns of `features` it is of; empty: the file does not say.
        tells: whether it has a `threshold` for unfamiliar images, and if not for which `reason`, and prediction `sets`.

    Raises:
        ValueError: it is no such file.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, *, threads: int = 0) -> None:
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        if not _CPU.exists() or "vnni" not in _CPU.read_text("utf-8"):  # there quick int8 kernels overflow
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an error of its own for each kind of damage
            raise ValueError(f"not an ONNX file that onnxruntime can run: {str(error).splitlines()[0]}") from error
        facts = self.session.get_modelmeta().custom_metadata_map
        try:
            self.card: dict[str, Any] = json.loads(facts["headstart"])
            self.classes = tuple(str(name) for name in self.card["classes"])
            self.background = tuple(int(value) for value in self.card["background"])
            self.bit_depth = int(self.card.get("bit_depth", 16))
            self.preprocess = self.card["preprocess"]
            self.input = self.session.get_inputs()[0].name
            self._familiarity = dict(self.card.get("familiarity") or {})
            known = json.loads(facts.get("headstart-familiarity", "{}"))
            self._distances = np.asarray(known.get("distances", []), dtype=np.float32)
            self._names = [str(name) for name in known.get("names", [])]
            self.training: dict[str, Any] = known.get("training", {})
            self.outputs = [output.name for output in self.session.get_outputs()]
            self.tells: dict[str, Any] = {
                "threshold": self._familiarity.get("threshold") is not None,
                "sets": "set" in self.outputs,
                "reason": str(self._familiarity.get("reason", "")),
            }
            parts = ("probabilities", "familiar", "nearest", "set", "atypical")
            self.told = [name for name in parts if name in self.outputs]
            widths = {output.name: output.shape[-1] for output in self.session.get_outputs()}
            if widths["probabilities"] != len(self.classes) or self.input not in ("image", "prepared"):
                raise ValueError("its outputs are not those of its classes")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an ONNX file of headstart: {error}") from error

    def predict(self, image: str | os.PathLike[str] | bytes) -> dict[str, Any]:
        """The answer for one image file, or for the bytes of one, see `answers`.

        Raises:
            ValueError: it cannot be opened.
        """
        return self.answers([self.open(image)])[0]

    def answers(self, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """What `headstart predict` says of each image H×W×3 uint8, by its names: label, probability, that of
        every class, how familiar it is, and which classes cannot be ruled out. None where the file does not say.
        """
        found = dict(zip(self.told, self.run(images, *self.told), strict=True))
        return [self.answer({name: rows[i] for name, rows in found.items()}) for i in range(len(images))]

    def answer(self, found: dict[str, Any]) -> dict[str, Any]:
        """What is said of one image, from its row of each output of `told`."""
        row = found["probabilities"]
        order = np.argsort(-row, kind="stable")
        familiar = percentile = nearest = members = atypical = None
        if "familiar" in found:
            threshold, count = self._familiarity.get("threshold"), len(self._distances)
            familiar = None if threshold is None else bool(found["familiar"] <= threshold)
            farther = count - int(np.searchsorted(self._distances, found["familiar"], side="left"))
            percentile = 100 * (1 + farther) / (count + 1) if count else None
        if "nearest" in found and found["nearest"] < len(self._names):
            nearest = self._names[found["nearest"]]
        if "set" in found:
            members, atypical = tuple(self.classes[i] for i in order if found["set"][i]), bool(found["atypical"])
        return {
            "label": self.classes[order[0]],
            "probability": float(row[order[0]]),
            "probabilities": {self.classes[i]: float(row[i]) for i in order},
            "familiar": familiar,
            "familiarity_percentile": percentile,
            "nearest_image": nearest,
            "prediction_set": members,
            "atypical": atypical,
        }

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """N×C float32 of images H×W×3 uint8, RGB and upright, each of any size."""
        return self.run(images, "probabilities")[0]

    def run(self, images: Sequence[np.ndarray], *outputs: str) -> list[np.ndarray]:
        """The named outputs, N rows each: `probabilities`, `scores` (before the softmax), `features`, and, where the
        file has them, `familiar`, `nearest`, `set` and `atypical`.
        """
        if self.input == "prepared":
            batch = np.stack([self.prepare(image) for image in images])
            return list(self.session.run(outputs, {"prepared": batch}))
        rows = [self.session.run(outputs, {"image": np.ascontiguousarray(image)}) for image in images]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def open(self, image: str | os.PathLike[str] | bytes) -> np.ndarray:
        """H×W×3 uint8: turned as its EXIF tag says, transparency over the classifier's background.

        Raises:
            ValueError: it is no image, damaged, too large, or of values that are not grey levels.
        """
        try:
            content = image if isinstance(image, bytes) else Path(image).read_bytes()
            opened: Image.Image = Image.open(io.BytesIO(content))
            pixels = opened.width * opened.height
            if pixels > MOST_PIXELS:
                raise ValueError(f"{pixels:,} pixels are more than {MOST_PIXELS:,}")
            factor = next((one for one in (1, 2, 4) if pixels <= _REDUCED * one**2), 8)
            if factor > 1 and opened.draft(opened.mode, (opened.width // factor, opened.height // factor)):
                factor = 1
            return np.asarray(self._rgb(ImageOps.exif_transpose(opened)).reduce(factor))
        except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise ValueError(f"cannot be opened: {error}") from error

    def _rgb(self, image: Image.Image) -> Image.Image:
        if image.mode.startswith("I;16") or image.mode == "I":
            values = np.asarray(image).astype(np.float64)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError("its values are not of 16 bits")
            levels = (values * (255 / (2**self.bit_depth - 1))).round().clip(0, 255)
            return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
        if image.mode == "F":
            raise ValueError("its values are floats: save it with 8 bits")
        if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
            layer = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", layer.size, (*self.background, 255)), layer).convert("RGB")
        return image.convert("RGB")

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        """3×S×S uint8 for the input `prepared`: resized and cropped as the classifier's card says, by Pillow."""
        side, crop, keep = self.preprocess["resize"], self.preprocess["crop"], self.preprocess.get("fit") != "stretch"
        short, most = min(rgb.shape[:2]), max(_MOST_RESIZED // side**2, 2)
        if keep:
            rows, columns = (max(length - most * short, 0) // 2 for length in rgb.shape[:2])
            rgb = rgb[rows : rgb.shape[0] - rows, columns : rgb.shape[1] - columns]
        height, width = (side * length // short if keep else side for length in rgb.shape[:2])
        modes = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
        mode = modes.get(self.preprocess["interpolation"], Image.Resampling.NEAREST)
        resized = np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((width, height), mode))
        missing = [max(crop - length, 0) for length in (height, width)]
        padded = np.pad(resized, [*((one // 2, one - one // 2) for one in missing), (0, 0)])
        top, left = (round((length - crop) / 2) for length in padded.shape[:2])
        return np.ascontiguousarray(padded[top : top + crop, left : left + crop].transpose(2, 0, 1))


def main(arguments: Sequence[str]) -> int:
    """Print one line of JSON for each image; 1 if one of them cannot be opened, 2 if the model cannot."""
    try:
        classifier, failed = OnnxClassifier(arguments[0]), False
    except (ValueError, OSError, IndexError) as error:
        return print(f"usage: runtime_onnx.py MODEL.onnx IMAGE…\n{error}", file=sys.stderr) or 2
    for path in arguments[1:]:
        try:
            print(json.dumps({"path": path, **classifier.predict(path)}))
        except ValueError as error:
            failed = True
            print(json.dumps({"path": path, "error": str(error)}))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
