"""The rate that training sees is the one that a coder could reach, and its prices hold it at the aims."""

import math

import pytest
import torch

from mtl_split_net.rate import RateModel, _laplace


def test_the_probabilities_of_all_symbols_add_up_to_one() -> None:
    symbols = torch.arange(0, 400.0)
    for scale in (0.02, 0.5, 3.0, 20.0):
        likely = _laplace(symbols, torch.full_like(symbols, scale))
        assert float(likely[0] + 2 * likely[1:].sum()) == pytest.approx(1, abs=1e-4)


def test_rounding_is_to_the_learned_steps_and_lets_gradients_pass() -> None:
    rate = RateModel(3, 20, (5, 50)).eval()
    latents = torch.randn(2, 3, 4, 5, requires_grad=True)
    points = torch.tensor([0, 1])
    restored, bits = rate(latents, points)
    steps = torch.exp(-rate.log_gains[points])[:, :, None, None]
    torch.testing.assert_close(restored, torch.round(latents / steps) * steps)
    assert bits.shape == (2,) and (bits > 0).all()
    restored.sum().backward()
    assert latents.grad is not None and torch.equal(latents.grad, torch.ones_like(latents))


def test_predictable_latents_take_fewer_bits() -> None:
    rate = RateModel(4, 256, (256,)).eval()
    noise = torch.randn(1, 4, 16, 16)
    halves = noise.clone()
    halves[..., 8:] = 0
    with torch.no_grad():
        one, other = (float(rate(latents, torch.tensor([0]))[1]) for latents in (noise, halves))
    assert other < 0.65 * one


def test_training_reaches_the_aims() -> None:
    torch.manual_seed(0)
    aims = (18, 108)
    rate = RateModel(8, 36, aims)
    optimizer = torch.optim.Adam(rate.parameters(), 0.02)
    latents = torch.randn(16, 8, 6, 6) * torch.logspace(-1, 0.5, 8)[:, None, None]
    points = torch.arange(16) % 2
    bits = torch.zeros(16)
    for _ in range(500):
        restored, bits = rate(latents, points)
        loss = 3 * (restored - latents).square().mean() + rate.charge(bits, points)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for point, aim in enumerate(aims):
        assert float(bits[points == point].detach().mean()) / 8 == pytest.approx(aim, rel=0.25)
    assert all(math.isfinite(price) for price in rate.prices.tolist())
