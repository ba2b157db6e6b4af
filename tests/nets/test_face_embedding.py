"""Faces as directions."""

import pytest
import torch

from xferlib.nets.face_embedding import FaceEmbedding


@pytest.mark.parametrize("side", [8, 25, 32])
def test_vectors_of_length_one(side):
    net = FaceEmbedding(16, (4, 6), side=side)
    vectors = net(torch.rand(3, 1, side, side))
    assert vectors.shape == (3, 16)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_features_halve_and_end_with_the_vectors():
    net, faces = FaceEmbedding(), torch.rand(2, 1, 25, 25)
    *maps, vectors = net.features(faces)
    assert [tuple(each.shape[1:]) for each in maps] == [(16, 13, 13), (32, 7, 7), (64, 4, 4)]
    assert torch.equal(vectors, net(faces)) and all(each.min() >= 0 for each in maps)


def test_standardised_faces_may_be_dark_and_others_may_not():
    torch.manual_seed(0)
    faces = torch.rand(2, 1, 25, 25)
    for standardise, same in ((True, True), (False, False)):
        net = FaceEmbedding(standardise=standardise)
        assert torch.allclose(net(0.3 * faces + 0.1), net(faces), atol=2e-2) is same
    assert FaceEmbedding(standardise=True)(torch.zeros(1, 1, 25, 25)).isfinite().all()


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"\(1, 1, 24, 24\); expected grey ones of \(B, 1, 25, 25\)"):
        FaceEmbedding()(torch.rand(1, 1, 24, 24))
    for options in ({"widths": ()}, {"kernel": 4}, {"dimensions": 0}):
        with pytest.raises(ValueError, match="the kernel odd"):
            FaceEmbedding(**options)
