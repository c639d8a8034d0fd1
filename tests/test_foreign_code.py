"""foreign_code: a plug-in that leaves Python fails as an error; everything else stays as it is."""

from __future__ import annotations

import sys

import pytest

from headstart.foreign_code import foreign_code


@pytest.mark.parametrize("code", [0, 3, "bye", None])
def test_leaving_python_is_an_error(code: object) -> None:
    with pytest.raises(RuntimeError, match=r"it called sys\.exit"), foreign_code():
        sys.exit(code)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_other_errors_and_ctrl_c_pass(kind: type[BaseException]) -> None:
    with pytest.raises(kind), foreign_code():
        raise kind
