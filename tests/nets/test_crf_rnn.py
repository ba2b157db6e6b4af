"""CRF as RNN: mean field behind a net, its weights learned."""

import torch
from torch import nn

from xferlib.nets.crf_rnn import CRFasRNN
from xferlib.ops import crf

KERNELS = {"position": 5.0, "colour": 20.0, "spread": 2.0}


def net_and_images(classes=3):
    torch.manual_seed(0)
    return nn.Conv2d(3, classes, 1), torch.rand(2, 3, 6, 8)


def test_it_starts_as_potts_with_the_given_weights():
    net, images = net_and_images()
    field = CRFasRNN(net, 3, iterations=4, bilateral=2.0, spatial=0.5, **KERNELS)
    probabilities = net(images).softmax(1)
    expected = crf.mean_field(crf.unary(probabilities), images, iterations=4, bilateral=2.0, spatial=0.5, **KERNELS)
    assert torch.allclose(field(images).softmax(1), expected, atol=1e-5)


def test_without_iterations_it_is_the_net():
    net, images = net_and_images()
    assert torch.allclose(CRFasRNN(net, 3, iterations=0)(images).softmax(1), net(images).softmax(1), atol=1e-5)


def test_gradients_reach_the_field_and_the_net():
    net, images = net_and_images()
    field = CRFasRNN(net, 3, iterations=2, bilateral=1.0, spatial=1.0, **KERNELS)
    nn.functional.cross_entropy(field(images), torch.randint(3, (2, 6, 8))).backward()
    for name, weight in field.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


def test_learning_the_weights_lowers_the_loss():
    net, images = net_and_images()
    labels = (images[:, 0] > 0.5).long()
    field = CRFasRNN(net.requires_grad_(False), 3, iterations=2, bilateral=1.0, spatial=1.0, **KERNELS)
    solver = torch.optim.Adam([p for p in field.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(field(images), labels)
        solver.zero_grad()
        loss.backward()
        solver.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.02
    assert (field.bilateral.exp() > 0).all()
