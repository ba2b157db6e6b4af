"""CRF as RNN: mean-field iterations as the last layer of a net, their kernels' weights learned with it."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from xferlib.ops import crf


class CRFasRNN(nn.Module):
    """
    Put a fully connected CRF behind a net; gradients pass through it to its own weights and on to the net.

    Parameters
    ----------
    net : nn.Module
        Gives logits (B, num_classes, H, W) for images (B, 3, H, W) in [0, 1].
    num_classes : int
        Classes L.
    iterations : int
        Mean-field iterations; more of them may be run at test time than in training, ``crf.iterations = 10``.
    bilateral, spatial : float
        What the weights of the kernels start from, one a class.
    **kernels
        ``position``, ``colour``, ``spread``, ``normalised`` and ``method``, as `xferlib.ops.crf.mean_field` takes them;
        they stay as they are.

    References
    ----------
    Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015, sections 4 and 5.
    """

    def __init__(
        self,
        net: nn.Module,
        num_classes: int = 21,
        *,
        iterations: int = 5,
        bilateral: float = 10.0,
        spatial: float = 3.0,
        **kernels: Any,
    ) -> None:
        super().__init__()
        self.net, self.iterations, self.kernels = net, iterations, kernels
        # Differs from Zheng et al.: weights are learned as logarithms, so that none falls below zero.
        self.bilateral = nn.Parameter(torch.full((num_classes,), math.log(bilateral)))
        self.spatial = nn.Parameter(torch.full((num_classes,), math.log(spatial)))
        self.compatibility = nn.Parameter(1 - torch.eye(num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """
        Score every pixel, and let the pixels agree.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            RGB in [0, 1].

        Returns
        -------
        Tensor, shape (B, num_classes, H, W)
            Logarithms of the beliefs, so that softmax gives them back.
        """
        beliefs = crf.mean_field(
            -self.net(images).log_softmax(1),
            images,
            iterations=self.iterations,
            bilateral=self.bilateral.exp(),
            spatial=self.spatial.exp(),
            compatibility=self.compatibility,
            **self.kernels,
        )
        return beliefs.clamp_min(1e-6).log()
