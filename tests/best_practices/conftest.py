"""A class of rule examples runs its tests once for each rule."""

from __future__ import annotations

import pytest

from flawed_networks import RuleExamples


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.cls is not None and issubclass(metafunc.cls, RuleExamples) and "rule" in metafunc.fixturenames:
        metafunc.parametrize("rule", metafunc.cls.examples)
