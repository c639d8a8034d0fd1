"""The graph recorder: what a forward pass calls, on shapes alone or with values, and how its graph is followed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.inspection.graph import CONSTANT, PIXELS, Graph, GraphFollower, record_graph


class Small(nn.Module):
    """A convolution, batch norm, an in-place ReLU, a sum, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.conv(x)), inplace=True)
        y += x
        return self.fc(F.dropout(y.mean((2, 3)), 0.2, training=self.training))


def graph_of(network: nn.Module, *, on_meta: bool = True, side: int = 4) -> Graph:
    return record_graph(network.eval(), torch.zeros(2, 3, side, side), on_meta=on_meta)


@pytest.mark.parametrize("on_meta", [True, False])
def test_operations_are_recorded_in_order_with_their_inputs(on_meta: bool):
    graph = graph_of(Small(), on_meta=on_meta)
    names = ["conv2d", "batch_norm", "relu", "add", "mean", "dropout", "linear"]
    assert [one.function for one in graph.operations] == names
    conv, norm, relu, add, mean, dropout, linear = graph.operations
    assert (conv.module, conv.inputs, conv.tensors) == ("conv", (PIXELS, CONSTANT), ("conv.weight",))
    assert (conv.has_bias, linear.has_bias, conv.has_weights, norm.has_weights) == (False, True, True, False)
    assert "norm.running_mean" in norm.tensors
    assert (relu.inputs, add.inputs, add.adds_maps) == ((1,), (2, PIXELS), True)
    assert (mean.shape, dropout.p, dropout.trains) == ((2, 3), 0.2, False)
    assert (graph.output, graph.output_shape) == (6, (2, 2))
    assert graph.calls == {"": 1, "conv": 1, "norm": 1, "fc": 1}


def test_users_and_ancestors_follow_the_inputs():
    graph = graph_of(Small())
    assert graph.users == {0: [1], 1: [2], 2: [3], 3: [4], 4: [5], 5: [6], 6: []}
    assert graph.ancestors(PIXELS) == 0b1
    assert graph.ancestors(2) == 0b1111
    assert graph.ancestors(CONSTANT) == 0
    assert graph.find("conv2d", "linear") == [0, 6]
    assert graph.first_input(3) == 2


def test_what_is_computed_from_weights_alone_is_no_ancestor():
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight - self.weight.mean())

    graph = graph_of(Standardised(3, 3, 1, bias=False))
    assert [one.from_pixels for one in graph.operations] == [False, False, True]
    assert graph.ancestors(2) == 0b1001
    assert graph.ancestors(1) == 0


def test_each_tensor_of_a_function_with_several_is_an_operation():
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            one, other = x.chunk(2, 2)
            return one * other

    graph = graph_of(Halves())
    assert [one.function for one in graph.operations] == ["chunk", "chunk", "mul"]
    assert graph.operations[2].inputs == (0, 1)


def test_a_gradient_is_carried_until_it_is_detached():
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach() + x * 2

    add = graph_of(Detached()).operations[-1]
    assert add.carries_gradient == (False, True)


def test_a_network_that_writes_into_its_input_can_be_recorded():
    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x -= 1
            return x.relu()

    pixels = torch.ones(2, 3, 4, 4)
    assert [one.function for one in record_graph(Shifted(), pixels, on_meta=False).operations] == ["sub", "relu"]
    assert bool((pixels == 1).all())


def test_recording_on_meta_leaves_weights_and_shared_modules_as_they_were():
    network = Small()
    network.again = network.norm
    before = dict(network.state_dict(keep_vars=True))
    graph_of(network)
    assert all(value is before[name] for name, value in network.state_dict(keep_vars=True).items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_failing_network_keeps_its_weights():
    class Asking(Small):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool(x.sum() > 0) else -x

    network = Asking()
    weight = network.conv.weight
    with pytest.raises(RuntimeError):
        graph_of(network)
    assert network.conv.weight is weight


def test_a_follower_sees_the_results_of_the_operations_it_watches():
    network, pixels = Small().eval(), torch.randn(5, 3, 4, 4)
    graph, seen = graph_of(network), {}
    follower = GraphFollower(graph, watched=graph.find("conv2d", "mean"), on_result=seen.__setitem__)
    with torch.no_grad(), follower:
        network(pixels)
    assert list(seen) == [0, 4]
    torch.testing.assert_close(seen[0], network.conv(pixels))
    assert seen[4].shape == (5, 3)


def test_a_follower_replaces_operations_and_recognises_them_by_their_count():
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x + 1
            if len(x) > 2:  # one operation more than was recorded, of another function
                y = y * 1
            return y + x

    graph = graph_of(Sums())
    assert graph.find("add") == [0, 1]
    with GraphFollower(graph, replace={1: lambda left, right: left - right}):
        found = Sums()(torch.full((4, 1, 2, 2), 3.0))
    assert bool((found == 1).all())
