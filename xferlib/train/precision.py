"""The arithmetic of training: bfloat16 where it is fast."""

import torch


def bfloat16_is_fast(device: torch.device) -> bool:
    """
    Say whether a device has instructions for bfloat16.

    Parameters
    ----------
    device : torch.device
        Where a net is trained.

    Returns
    -------
    bool
        False for a CPU without them, where bfloat16 is imitated and takes many times as long as float32, and where
        PyTorch is too old to tell. True for any other device.
    """
    if device.type != "cpu":
        return True
    has = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def half_precision(device: torch.device) -> torch.autocast:
    """
    Convolve and multiply in bfloat16 within a ``with``, where that is fast.

    Parameters
    ----------
    device : torch.device
        Where a net is trained.

    Returns
    -------
    torch.autocast
        The context.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device))
