"""What processes say to each other; two of them train in tests/finetune/test_processes.py."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn

from headstart.errors import RunError
from headstart.training.process_group import ProcessGroup


def test_each_row_of_a_batch_belongs_to_one_process() -> None:
    rows = torch.arange(7)
    shares = [ProcessGroup(rank, 3, None).own(rows).tolist() for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


def test_a_group_of_one_leaves_everything_as_it_is() -> None:
    layer = nn.Linear(2, 1)
    before = [parameter.tolist() for parameter in layer.parameters()]
    group = ProcessGroup(0, 1, dist.HashStore())
    with group.joined():
        group.share(layer)
        assert torch.equal(group.gather(torch.ones(3, 2), 3), torch.ones(3, 2))
        assert group.same({"a": 1}) == {"a": 1}
        assert group.first(lambda: 5) == 5
    assert [parameter.tolist() for parameter in layer.parameters()] == before
    assert not dist.is_initialized()


def test_an_error_names_what_the_other_process_said() -> None:
    store = dist.HashStore()
    ProcessGroup(1, 2, store).fail(ValueError("the disk is full"))
    group = ProcessGroup(0, 2, store, why_gone=lambda: "one that was killed")
    with pytest.raises(RunError, match="process 2 of 2: the disk is full"), group.others():
        raise RuntimeError("Connection closed by peer")
    with (
        pytest.raises(RunError, match="one that was killed"),
        ProcessGroup(0, 2, dist.HashStore(), why_gone=lambda: "one that was killed").others(),
    ):
        raise RuntimeError("Connection closed by peer")


def test_errors_of_work_beside_messages_stay_as_they_are() -> None:
    group = ProcessGroup(0, 2, dist.HashStore(), why_gone=lambda: "one that was killed")
    with pytest.raises(RuntimeError, match="shapes"), group.others(with_work=True):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(RunError, match="one that was killed"), group.others(with_work=True):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
