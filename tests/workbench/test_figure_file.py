"""A figure is written in the format of its suffix, and is never read as an image of a class."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from headstart.data.image_set import scan
from headstart.errors import RecipeError
from headstart.workbench.figure_file import check_figure, write_figure
from laid_files import lay, rows


@pytest.mark.slow
def test_a_figure_is_written_by_its_suffix(tmp_path: Path) -> None:
    for name, head in (("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")):
        check_figure(tmp_path / name)
        write_figure(Figure(), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)
    with pytest.raises(RecipeError, match=r"\.png or \.svg or \.pdf"):
        check_figure(tmp_path / "a.jpg")


def test_a_figure_among_the_images_of_a_class_is_none_of_them(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.jpg", "dog/1.jpg")
    write_figure(Figure(), tmp_path / "cat" / "figure.png")
    assert [name for name, _, _ in rows(scan(tmp_path))] == ["cat/1.jpg", "dog/1.jpg"]
