"""The network of frames, and what its vectors are."""

import numpy as np
import pytest
import torch

from jobs.common.frames.network import GROUP, FrameNet, Norm, calibrate, readout
from jobs.contrast.projection import Projection


def made(n_bands: int = 32) -> FrameNet:
    torch.manual_seed(0)
    return FrameNet(n_bands)


@pytest.mark.parametrize(("n_bands", "n_frames"), [(128, 256), (32, 96), (64, 50), (16, 1)])
def test_shapes(n_bands: int, n_frames: int) -> None:
    net = made(n_bands).eval()
    with torch.inference_mode():
        output, stem = net(torch.randn(3, 1, n_bands, n_frames))
    n_out = -(-n_frames // 4)
    assert output.shape == (3, n_out, 256)
    assert stem.shape == (3, n_out, 6 * n_bands)
    assert readout(output, stem).shape == (3, 2 * (256 + 6 * n_bands))
    assert sum(each.numel() for each in made(128).parameters()) == 374_048


def test_bands_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        FrameNet(100)


def test_a_group_does_not_depend_on_its_batch() -> None:
    net, head = made(), Projection()
    x = torch.randn(3 * GROUP, 1, 32, 24)
    whole = head(net(x)[0])
    alone = head(net(x[GROUP : 2 * GROUP])[0])
    torch.testing.assert_close(alone, whole[GROUP : 2 * GROUP])
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(3 * GROUP))


def test_gradients_of_groups_add_up() -> None:
    net = made()
    x = torch.randn(2 * GROUP, 1, 32, 24)
    net(x)[0].square().sum().backward()
    whole = [each.grad.clone() for each in net.parameters() if each.grad is not None]
    net.zero_grad()
    for part in torch.split(x, GROUP):
        net(part)[0].square().sum().backward()
    for each, expected in zip(net.parameters(), whole, strict=True):
        torch.testing.assert_close(each.grad, expected, rtol=1e-3, atol=1e-3)


def test_calibrated_moments_are_those_of_the_layers_input() -> None:
    net = made()
    x = torch.randn(4 * GROUP, 1, 32, 24) * 2 + 1
    calibrate(net, [x])
    assert not net.training
    first = net.stem[0](x)
    norm = net.stem[1]
    assert isinstance(norm, Norm)
    torch.testing.assert_close(norm.mean, first.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.variance, first.var(dim=(0, 2, 3), correction=0), rtol=1e-3, atol=1e-3)


def test_windows_are_computed_alone_in_inference() -> None:
    net = made()
    x = torch.randn(GROUP, 1, 32, 24)
    calibrate(net, [x])
    with torch.inference_mode():
        whole = readout(*net(x))
        alone = readout(*net(x[5:6]))
    torch.testing.assert_close(alone, whole[5:6], rtol=1e-4, atol=1e-5)


def test_the_readout_is_mean_and_deviation_over_time() -> None:
    output, stem = torch.randn(2, 7, 3), torch.randn(2, 7, 5)
    found = readout(output, stem).numpy()
    parts = [f(each.numpy(), axis=1) for each in (output, stem) for f in (np.mean, np.std)]
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), atol=1e-6)
