"""The options of --on: a cluster, or a word about what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.cli.cluster_options import cluster
from headstart.distributed.engine import Cluster
from headstart.errors import RecipeError


def test_options_make_a_cluster() -> None:
    assert cluster(None, address="", processes=0, shards=None) is None
    made = cluster("local", address="", processes=3, shards=Path("x"), held_out="folds")
    assert made == Cluster(processes=3, shards=Path("x"), held_out="folds")


def test_an_option_without_on_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"--processes, --held-out without --on"):
        cluster(None, processes=2, held_out="folds")
