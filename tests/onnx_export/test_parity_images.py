"""The images of unusual shape and kind are what their names say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import open_image
from headstart.onnx_export.parity_images import odd_images


@pytest.mark.slow
def test_each_image_is_what_its_name_says() -> None:
    images = odd_images()
    opened = {name: Image.open(io.BytesIO(content)) for name, content in images.items()}

    assert len(images) == 13
    assert opened["1×40"].size == (40, 1)
    assert opened["700×3"].size == (3, 700)
    assert opened["grey"].mode == "L"
    assert opened["12 megapixels"].size == (4000, 3000)
    assert np.asarray(opened["transparent"].getchannel("A")).min() == 0
    assert [opened[f"EXIF orientation {i}"].getexif()[0x0112] for i in range(1, 9)] == list(range(1, 9))


@pytest.mark.slow
def test_they_are_the_same_each_time_and_orientations_change_the_picture() -> None:
    images = odd_images()

    assert images == odd_images()
    upright = {open_image(images[f"EXIF orientation {i}"]).rgb.tobytes() for i in range(1, 9)}
    assert len(upright) == 8
