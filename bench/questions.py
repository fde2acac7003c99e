"""What clients ask: whole requests in which ``@@number@@`` becomes the request's own number."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping

NUMBER = b"@@number@@"
IMAGE_BYTES = 768 * 1024  # 1 MiB in base64


def write_question(
    answer: str,
    model: str,
    *,
    stream: bool = False,
    image: bool = False,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """
    Write one request for a chat completion, of 200 bytes or with an image of 1 MiB.

    :param answer: the script that the upstream is to play.
    """
    text = f"Ask {answer} {NUMBER.decode()}: how far is the river from the town?"
    content: object = text
    if image:
        data = base64.b64encode(random.Random(1).randbytes(IMAGE_BYTES)).decode()
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        content = [{"type": "text", "text": text}, picture]
    asked: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": content}]}
    if stream:
        asked["stream"] = True
    body = json.dumps(asked).encode()
    lines = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        **(headers or {}),
        "Content-Length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + body
