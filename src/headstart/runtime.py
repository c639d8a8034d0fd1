"""The only file that asks about the machine, and about Python itself: device, cores, versions, disk, cache, garbage.

Torch is imported inside the functions that need it, so that a command without tensors does not pay for it.
"""

from __future__ import annotations

import functools
import gc
import os
import platform
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.errors import RecipeError

# the packages whose version can change a number
_PACKAGES = ("headstart", "torch", "torchvision", "timm", "numpy", "scipy", "pillow", "safetensors", "onnxruntime")
# of all threads of the process, see `collection_paused`
_pausing = threading.Lock()
_paused = 0
_was_on = False


def cache_folder() -> Path:
    """Folder for everything that can be made again: `HEADSTART_CACHE`, else the user's cache folder of the system.

    Raises:
        RecipeError: the user after ~ is unknown, or no disk can hold such a name.
    """
    import platformdirs

    named = os.environ.get("HEADSTART_CACHE")
    try:
        folder = Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("headstart", appauthor=False))
        folder.exists()  # refuses a name that is too long
    except (RuntimeError, OSError) as error:
        if isinstance(error, PermissionError):  # it is there, for others: whoever writes says so
            return folder
        raise RecipeError(
            expected="a folder in HEADSTART_CACHE",
            found=f"{(named or '~')[:60]!r} ({getattr(error, 'strerror', None) or error})",
            where="HEADSTART_CACHE",
            hint="Set it to a folder that you may write to.",
        ) from error
    return folder


def cores() -> int:
    """Processors this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def torchrun_size() -> int:
    """How many processes torchrun started of this program; 1 without it."""
    words = (os.environ.get("WORLD_SIZE", ""), os.environ.get("RANK", ""))
    return int(words[0]) if all(word.isdecimal() for word in words) and "MASTER_ADDR" in os.environ else 1


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Names of the processor's instruction sets as Linux lists them, such as avx2, avx512_vnni; elsewhere none."""
    return frozenset(_cpu_field("flags", "Features").split())


def has_vnni() -> bool:
    """Whether the processor is known to multiply 8-bit integers without overflow."""
    return any("vnni" in flag for flag in cpu_flags())


@functools.cache
def cpu_model() -> str:
    """The processor, for people and for what is measured on it."""
    return _cpu_field("model name", "CPU part") or platform.processor() or platform.machine()


def _cpu_field(*names: str) -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in names:
                return value.strip()
    return ""


def free_bytes(folder: Path) -> int:
    """Free space on the disk that holds the folder, or would hold it once made."""
    there = folder.absolute()
    while True:
        try:
            return shutil.disk_usage(there).free
        except OSError:  # not made yet, or no name for this disk
            if there == there.parent:
                return 0
            there = there.parent


def free_memory(device: str = "cpu") -> int:
    """Memory that can still be taken, in bytes: of the GPU, or of the machine without swapping.

    0 where the system does not say.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def choose_device(name: str = "auto") -> str:
    """Name of the torch device: `auto` takes a GPU when there is one.

    Raises:
        RecipeError: the device is unknown to torch or not in this machine.
    """
    import torch

    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, index = name.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(has_mps)}.get(kind, 0)
    if (index and not index.isdigit()) or int(index or 0) >= there:
        raise RecipeError(
            expected="a device of this machine", found=repr(name), where="--device", hint="Use auto or cpu."
        )
    return name


def return_memory() -> None:
    """Give memory that is free back to the system, where glibc keeps it for the threads that have used it.

    After 100,000 images were decoded by two threads that is 0.15 GB. Other systems do so by themselves.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def versions() -> dict[str, str]:
    """Versions of Python, the system and the packages that can change a number."""
    import importlib.metadata  # here: a tenth of what `headstart --help` imports, and few commands ask for versions

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional package that is not here
    return found


@contextmanager
def collection_paused() -> Iterator[None]:
    """Nothing is searched for cycles in here; what is no longer used is freed as always, by its count of references.

    Every 70,000 new values start a search through all that is alive: with torch imported 340,000 more, 0.2 s each time.
    For work that is bounded and makes no cycles. Several threads may be inside; the last one out turns it on again,
    unless it was off before.
    """
    global _paused, _was_on
    with _pausing:
        if not _paused:
            _was_on = gc.isenabled()
            gc.disable()
        _paused += 1
    try:
        yield
    finally:
        with _pausing:
            _paused -= 1
            if not _paused and _was_on:
                gc.enable()
