"""What a file is that is no image of a known format: a pointer, a page, a drawing, a video, another kind of image."""

from __future__ import annotations

_PNG = "save it as PNG"
_LINES = 512  # bytes of a text that are looked at
_BEFORE = 4096  # bytes in front of an image that are looked at
_ZIP, _OLD_PYTORCH = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the image; git lfs pull fetches the image"),
    (b"%PDF", f"a PDF, which is not supported; {_PNG}"),
    (b"8BPS", f"a Photoshop file, which is not supported; {_PNG}"),
    (b"gimp xcf", f"a GIMP file, which is not supported; {_PNG}"),
    (b"\xff\x0a", f"a JPEG XL, which is not supported; {_PNG}"),
    (b"\0\0\0\x0cJXL ", f"a JPEG XL, which is not supported; {_PNG}"),
    (b"II\xbc", f"a JPEG XR, which is not supported; {_PNG}"),
    (b"\x76\x2f\x31\x01", f"an OpenEXR, which is not supported; {_PNG}"),
    (b"#?RADIANCE", f"a Radiance HDR, which is not supported; {_PNG}"),
    (b"DDS ", f"a DirectDraw surface (DDS), which is not supported; {_PNG}"),
    (b"qoif", f"a QOI, which is not supported; {_PNG}"),
    (b"BPG\xfb", f"a BPG, which is not supported; {_PNG}"),
    (b"P7\n", f"a PAM of netpbm, which is not supported; {_PNG}"),
    (b"PF\n", f"a float map in colours (PFM), which is not supported; {_PNG}"),
    (b"SIMPLE  =", f"a FITS, which is not supported; {_PNG}"),
    (b"FUJIFILMCCD-RAW", "a raw photograph, which is not supported; develop it to JPEG or PNG"),
    (b"\x89HDF", "an HDF5 file, not an image; save its images one by one"),
    (b"\x93NUMPY", "an array of NumPy, not an image; give the array itself, or save it as PNG"),
    (b"\x1f\x8b", "a file packed by gzip, not an image; unpack it"),
    (_ZIP, "a zip archive, not an image; unpack it"),
    (b"Rar!", "a RAR archive, not an image; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive, not an image; unpack it"),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM), not an image"),
    (b"data:image/", "an image as text (a data URL), not its bytes; decode what is behind the comma with base64"),
)
_BRANDS = {b"crx ": "a raw photograph (CR3), which is not supported; develop it to JPEG or PNG"}
_TGA_KINDS, _TGA_BITS = (b"\1", b"\2", b"\3", b"\x09", b"\x0a", b"\x0b"), (b"\x08", b"\x0f", b"\x10", b"\x18", b"\x20")
_VIDEO_BRANDS = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"dash")
_INSIDE = {b"\x89PNG\r\n\x1a\n": "a PNG", b"\xff\xd8\xff\xe0": "a JPEG", b"\xff\xd8\xff\xe1": "a JPEG"}


def kind_of(data: bytes) -> str | None:
    """What a file is and what to do about it, for people; None where it cannot be told.

    Args:
        data: of a file that begins as no image that is opened.
    """
    said = _arrays(data) or next((words for start, words in _STARTS if data.startswith(start)), None)
    said = said or _container(data) or _text(data)
    if said:
        return said
    if not data.strip(b"\0"):
        return f"not an image: all of its {len(data):,} bytes are zero, as an interrupted copy leaves them"
    places = {data.find(start, 1, _BEFORE): words for start, words in _INSIDE.items()}
    place = min((one for one in places if one > 0), default=0)
    return f"not an image: {places[place]} begins only at byte {place:,}; remove what is before it" if place else None


def _arrays(data: bytes) -> str | None:
    """Files of numbers: what PyTorch, safetensors and NumPy write, the first and the last as zip archives."""
    name = data[30 : 30 + int.from_bytes(data[26:28], "little")] if data.startswith(_ZIP) else b""
    header = int.from_bytes(data[:8], "little")
    if name.endswith(b"/data.pkl") or data.startswith(_OLD_PYTORCH):
        return "weights or tensors of PyTorch, not an image"
    if data[8:10] == b'{"' and header < len(data):
        return "weights or tensors (safetensors), not an image"
    return "arrays of NumPy (npz), not an image; save its images one by one" if name.endswith(b".npy") else None


def _container(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12]) or ("a video, not an image" if data[8:12] in _VIDEO_BRANDS else None)
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "a video (AVI), not an image"
    if data[:4] == b"(\0\0\0" and data[12:14] == b"\1\0":  # the size of the second header, one plane
        return f"a BMP without its file header (DIB), which is not supported; {_PNG}"
    if data[:4] == b"\0\0\2\0" and any(data[4:6]):  # how many there are
        return f"a cursor of Windows, which is not supported; {_PNG}"
    is_tga = data[1:2] <= b"\1" and data[2:3] in _TGA_KINDS and data[16:17] in _TGA_BITS
    if is_tga and (data[1] or not any(data[3:8])):
        return f"a TGA, which is not supported; {_PNG}"
    return f"a DICOM file, which is not supported; {_PNG}" if data[128:132] == b"DICM" else None


def _text(data: bytes) -> str | None:
    start = data[:_LINES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), not an image, as a download leaves that was refused; fetch it again"
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in start):
        return f"a drawing (SVG), which is not supported; {_PNG}"
    if start.startswith(b"<?xml"):
        return "a text (XML), not an image, as a download leaves that was refused; fetch it again"
    return None
