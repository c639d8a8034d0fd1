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


class OnnxClassifier:
    """A classifier in an ONNX file that `headstart export` wrote.

    Args:
        model: path of the file, or its bytes. threads: of one prediction; 0: as many as onnxruntime chooses.

    Attributes:
        classes: names in the order of the probabilities. card: all that the file says about itself.

    Raises:
        ValueError: it is no such file.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, *, threads: int = 0) -> None:
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
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
            widths = {output.name: output.shape[-1] for output in self.session.get_outputs()}
            if widths["probabilities"] != len(self.classes) or self.input not in ("image", "prepared"):
                raise ValueError("its outputs are not those of its classes")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an ONNX file of headstart: {error}") from error

    def predict(self, image: str | os.PathLike[str] | bytes) -> dict[str, Any]:
        """The answer for one image file, or for the bytes of one: label, probability, and that of every class.

        Raises:
            ValueError: it cannot be opened.
        """
        row = self.probabilities([self.open(image)])[0]
        order = np.argsort(-row, kind="stable")
        ranked = {self.classes[i]: float(row[i]) for i in order}
        return {"label": self.classes[order[0]], "probability": float(row[order[0]]), "probabilities": ranked}

    def probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """N×C float32 of images H×W×3 uint8, RGB and upright, each of any size."""
        return self.run(images, "probabilities")[0]

    def run(self, images: Sequence[np.ndarray], *outputs: str) -> list[np.ndarray]:
        """The named outputs, N rows each: `probabilities`, `scores` (before the softmax), `features`."""
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
