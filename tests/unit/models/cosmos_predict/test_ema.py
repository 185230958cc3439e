import copy

import pytest
import torch
from torch import nn

from tao_skill_bank.models.cosmos_predict.ema import Ema


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    return model


def test_the_average_follows_its_formula_and_leaves_frozen_weights_out(model):
    ema = Ema(model, 0.9)
    assert set(ema.averages) == {"1.weight", "1.bias"}
    expected = model[1].weight.detach().double().clone()
    for _ in range(5):
        with torch.no_grad():
            model[1].weight.add_(torch.randn(1, 2))
        ema.update()
        expected = 0.9 * expected + 0.1 * model[1].weight.detach().double()
    torch.testing.assert_close(ema.averages["1.weight"].double(), expected, rtol=1e-6, atol=1e-6)


def test_averages_take_the_place_of_weights_and_weights_come_back_even_after_an_error(model):
    ema = Ema(model, 0.5)
    with torch.no_grad():
        model[1].weight.add_(1)
    ema.update()
    weights = copy.deepcopy(model.state_dict())

    def judge():
        with ema.applied():
            assert torch.equal(model[1].weight, ema.averages["1.weight"])
            raise KeyError

    with pytest.raises(KeyError):
        judge()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_an_applied_average_is_no_part_of_a_later_one(model):
    ema = Ema(model, 0.5)
    before = ema.averages["1.weight"].clone()
    with ema.applied(), torch.no_grad():
        model[1].weight.add_(1)
    assert torch.equal(ema.averages["1.weight"], before)
