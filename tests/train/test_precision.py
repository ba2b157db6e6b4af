import pytest
import torch
from torch import nn

from xferlib import train
from xferlib.train.precision import bfloat16_is_fast, half_precision

CPU = torch.device("cpu")
WITHOUT = {"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def fast(request, monkeypatch):
    has = {**WITHOUT, "avx512_bf16": request.param}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    return request.param


@pytest.mark.parametrize(
    ("has", "fast"),
    [
        (WITHOUT, False),
        ({**WITHOUT, "avx512_bf16": True}, True),
        ({**WITHOUT, "amx_bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": False}, False),
    ],
)
def test_a_cpu_is_fast_if_it_has_an_instruction(has, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert bfloat16_is_fast(CPU) is fast
    assert bfloat16_is_fast(torch.device("cuda"))


def test_where_pytorch_cannot_tell_it_is_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not bfloat16_is_fast(CPU)


def test_half_precision_holds_where_it_is_fast(fast):
    with half_precision(CPU):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == (torch.bfloat16 if fast else torch.float32)


def trained(precision):
    """Train one step; give the kind of numbers that a layer made, and its weights."""
    torch.manual_seed(0)
    net, seen = nn.Linear(3, 1), []
    net.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    data = [torch.rand(3) for _ in range(4)]
    train.fit(
        net,
        lambda net, batch: net(batch).square().mean(),
        data,
        steps=2,
        batch_size=2,
        accelerator="cpu",
        precision=precision,
        progress=False,
    )
    return set(seen), net.weight


def test_a_training_takes_float32_where_bfloat16_is_slow(fast):
    made, weights = trained("bf16-mixed")
    assert made == {torch.bfloat16 if fast else torch.float32}
    assert torch.equal(weights, trained("32-true")[1]) is not fast


def test_float16_on_a_cpu_is_what_bfloat16_would_be(fast):
    with pytest.warns(UserWarning, match="fp16"):
        made, weights = trained("16-mixed")
    assert made == {torch.bfloat16 if fast else torch.float32}
    assert torch.equal(weights, trained("bf16-mixed")[1])


def test_what_fabric_run_says_of_precision_holds(fast, monkeypatch):
    for name, value in {"CLI_USED": "1", "ACCELERATOR": "cpu", "DEVICES": "1", "NUM_NODES": "1"}.items():
        monkeypatch.setenv(f"LT_{name}", value)
    assert trained("bf16-mixed")[0] == {torch.bfloat16 if fast else torch.float32}
    monkeypatch.setenv("LT_PRECISION", "bf16-mixed")
    assert trained("bf16-mixed")[0] == {torch.bfloat16}
