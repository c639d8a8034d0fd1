"""Which credential kagglehub will use, found without reading any secret, and how to get one."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

HOW_TO_LOG_IN = (
    "Make a token at https://www.kaggle.com/settings/api (Generate New Token) and put it into the variable "
    "KAGGLE_API_TOKEN or the file ~/.kaggle/access_token. Or there: Create Legacy API Key, and put its kaggle.json "
    "into ~/.kaggle or the folder that KAGGLE_CONFIG_DIR names, or its two values into KAGGLE_USERNAME and KAGGLE_KEY."
)


@dataclass(frozen=True)
class Credential:
    """Where kagglehub will find who we are; its secret is never read here.

    Args:
        where: name of the variable or the file.
        path: the file, if it is one.
    """

    where: str
    path: Path | None = None

    @property
    def is_open(self) -> bool:
        """Whether others on this machine can read the file."""
        if self.path is None or os.name == "nt":  # Windows keeps its rights elsewhere
            return False
        return bool(self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def find_credential() -> Credential | None:
    """The first of the places that kagglehub looks at, in its order; None when all are empty."""
    home = Path("~/.kaggle").expanduser()
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    if token:  # a token, or the path of a file with one
        path = Path(token) if len(token) < 1000 and Path(token).is_file() else None
        return Credential("KAGGLE_API_TOKEN", path)
    for path in (home / "access_token", home / "access_token.txt"):
        if path.is_file():
            return Credential(str(path), path)
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return Credential("KAGGLE_USERNAME and KAGGLE_KEY")
    path = Path(os.environ.get("KAGGLE_CONFIG_DIR") or home) / "kaggle.json"
    return Credential(str(path), path) if path.is_file() else None
