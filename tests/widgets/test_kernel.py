"""The widgets in a live kernel, over the messages that JupyterLab would send."""

import base64
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from PIL import Image

CODE = """
import torch
from xferlib import widgets
widgets.explore(lambda gain: torch.full((3, 8, 8), gain), gain=[0.0, 0.5, 1.0], alt=lambda gain: f"Grey {gain}.")
"""


@pytest.fixture(scope="module")
def client():
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    manager, client = start_new_kernel(kernel_name="python3", env=environment)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def messages_of(client, request):
    """Give what the kernel publishes until it has served a request."""
    found = []
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return found
        found.append(message)


def grey_of(html):
    data = base64.b64decode(re.search(r'base64,([^"]*)"', html)[1])
    return int(np.asarray(Image.open(io.BytesIO(data)).convert("L")).mean())


def test_moving_the_slider_changes_the_picture(client):
    messages = messages_of(client, client.execute(CODE))
    models = {
        message["content"]["data"]["state"]["_model_name"]: message["content"]
        for message in messages
        if message["msg_type"] == "comm_open"
    }
    shown = next(message["content"]["data"] for message in messages if message["msg_type"] == "execute_result")
    box = models["VBoxModel"]
    assert shown["application/vnd.jupyter.widget-view+json"]["model_id"] == box["comm_id"]
    picture, slider = models["HTMLModel"], models["SelectionSliderModel"]
    assert box["data"]["state"]["children"] == [f"IPY_MODEL_{part['comm_id']}" for part in (picture, slider)]
    assert slider["data"]["state"]["_options_labels"] == ["0", "0.5", "1"]
    assert slider["data"]["state"]["description"] == "gain"
    assert grey_of(picture["data"]["state"]["value"]) == 0

    content = {"comm_id": slider["comm_id"], "data": {"method": "update", "state": {"index": 2}}}
    move = client.session.msg("comm_msg", content)
    client.shell_channel.send(move)
    values = [
        message["content"]["data"]["state"]["value"]
        for message in messages_of(client, move["header"]["msg_id"])
        if message["msg_type"] == "comm_msg"
        and message["content"]["comm_id"] == picture["comm_id"]
        and "value" in message["content"]["data"].get("state", {})
    ]
    assert grey_of(values[-1]) == 255
    assert 'alt="Grey 1.0."' in values[-1]
