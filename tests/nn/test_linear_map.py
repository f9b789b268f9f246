import torch

from thaw.nn.linear_map import LinearMap


def test_events_are_linear_in_all_attributes():
    torch.manual_seed(0)
    model, attributes = LinearMap(attributes=3, events=5, dim=4), torch.randn(2, 3, 4)
    virtual, repeats = model.generate(attributes)
    weight, bias = model.dense.weight.view(5, 4, 12), model.dense.bias.view(5, 4)
    for user in range(2):
        for event in range(5):
            expected = weight[event] @ attributes[user].flatten() + bias[event]
            torch.testing.assert_close(virtual[user, event], expected)
    assert repeats.tolist() == [[1] * 5] * 2
