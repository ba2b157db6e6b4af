"""A small net that turns a face into a direction: pictures of one person point the same way."""

import torch.nn.functional as F
from torch import Tensor, nn

from xferlib.nets.vgg import initialise


class FaceEmbedding(nn.Module):
    """
    Turn small grey faces into vectors of length one.

    Parameters
    ----------
    dimensions : int
        Length of the vector's list of numbers.
    widths : tuple of int
        Channels of each convolution; after each the map is halved.
    kernel : int
        Side of the kernels, odd.
    side : int
        Height and width of the faces in pixels.
    standardise : bool
        Whether each picture is first brought to one mean and one contrast, so that its exposure does not matter.

    Raises
    ------
    ValueError
        If a number is below 1 or the kernel is even.

    References
    ----------
    Schroff, Kalenichenko, Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015,
    section 3, for faces as points on a sphere.
    """

    def __init__(
        self,
        dimensions: int = 64,
        widths: tuple[int, ...] = (16, 32, 64),
        kernel: int = 3,
        *,
        side: int = 25,
        standardise: bool = False,
    ) -> None:
        super().__init__()
        if not widths or min(dimensions, kernel, side, *widths) < 1 or kernel % 2 == 0:
            raise ValueError(f"{dimensions} dimensions, widths {widths}, kernel {kernel}: 1 at least, the kernel odd")
        self.side, self.standardise = side, standardise
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, kernel, padding=kernel // 2)
            for before, after in zip((1, *widths[:-1]), widths, strict=True)
        )
        for _ in widths:
            side = -(-side // 2)
        self.project = nn.Linear(widths[-1] * side**2, dimensions)
        initialise(self)

    def features(self, faces: Tensor) -> list[Tensor]:
        """
        Give what each layer sees.

        Parameters
        ----------
        faces : Tensor, shape (B, 1, side, side)
            Grey, in [0, 1].

        Returns
        -------
        list of Tensor
            The maps of each convolution after its ReLU, halved, and last the vectors (B, dimensions).

        Raises
        ------
        ValueError
            If the faces have another shape.
        """
        if faces.shape[1:] != (1, self.side, self.side):
            raise ValueError(
                f"faces of shape {tuple(faces.shape)}; expected grey ones of (B, 1, {self.side}, {self.side})"
            )
        x, found = self._lit(faces) if self.standardise else faces - 0.5, []
        for conv in self.convs:
            x = F.avg_pool2d(conv(x).relu(), 2, ceil_mode=True)
            found.append(x)
        return [*found, F.normalize(self.project(x.flatten(1)), dim=1)]

    def _lit(self, faces: Tensor) -> Tensor:
        centred = faces - faces.mean((1, 2, 3), keepdim=True)
        return 0.2 * centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-3)

    def forward(self, faces: Tensor) -> Tensor:
        """
        Turn faces into vectors.

        Parameters
        ----------
        faces : Tensor, shape (B, 1, side, side)
            Grey, in [0, 1].

        Returns
        -------
        Tensor, shape (B, dimensions)
            Vectors of length one; the likeness of two faces is their product.
        """
        return self.features(faces)[-1]
