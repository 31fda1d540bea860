"""A page as the site knows it: a WebSocket that asks for the next message."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

PATIENCE = 60.0
"""Seconds without what is waited for, after which it is taken never to come."""


@dataclass(frozen=True)
class News:
    """One message: its text, and the pictures in it by vehicle."""

    text: dict[str, Any]
    pictures: dict[str, bytes]

    def vehicle(self, name: str) -> dict[str, Any]:
        """What is said of a vehicle; nothing where it is not there."""
        return next((vehicle for vehicle in self.text["vehicles"] if vehicle["name"] == name), {})


def parse(message: bytes) -> News:
    """Read a message as the page does."""
    (length,) = struct.unpack_from("<I", message)
    text, at, pictures = json.loads(message[4 : 4 + length]), 4 + length, {}
    for vehicle in text["vehicles"]:
        if picture := vehicle.get("picture"):
            pictures[vehicle["name"]] = message[at : at + picture["bytes"]]
            at += picture["bytes"]
    assert at == len(message)
    return News(text, pictures)


class Page:
    """An open page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Talk over this WebSocket."""
        self._socket = socket

    async def ask(self) -> News:
        """Ask for the next message."""
        await self._socket.send_str("next")
        return parse(await self._socket.receive_bytes())

    async def find(self, wanted: Any) -> News:
        """Ask until `wanted(news)` is true."""
        async with asyncio.timeout(PATIENCE):
            while not wanted(news := await self.ask()):
                pass
        return news


@asynccontextmanager
async def opened(url: str, **headers: str) -> AsyncIterator[Page]:
    """Open a page of the site at a URL. Raises aiohttp.WSServerHandshakeError where it is refused."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}news", headers=headers) as socket:
        yield Page(socket)
