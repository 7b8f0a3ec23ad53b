"""Plain HTTP requests whose path is sent as it is given, which urllib would tidy."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from dataclasses import dataclass


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


async def get(
    port: int,
    path: str,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    tls: ssl.SSLContext | None = None,
) -> Answer:
    def ask() -> Answer:
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        connection = kind("127.0.0.1", port, timeout=10, **({"context": tls} if tls else {}))
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    return await asyncio.to_thread(ask)
