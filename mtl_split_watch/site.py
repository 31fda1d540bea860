"""The page's server: serves the page's files and, over a WebSocket, one message whenever a page asks for the next.

A page asks again when it has shown the last message, so a slow link or a slow phone gets fewer pictures, never old
ones; a page in a hidden tab does not ask, and nobody looks.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from mtl_split_core.errors import InputError
from mtl_split_watch.board import Board

FOLDER = Path(__file__).parent / "page"

FILES = {"/": "index.html", "/watch.js": "watch.js", "/watch.css": "watch.css"}

LOOKING = 5.0
"""Seconds after which somebody who has not asked for the next message does not look any more."""

LONGEST_PAUSE = 1.0
"""Seconds between two messages at most, so that a page can tell a quiet node from a lost one."""

MOST_PAGES = 16
"""Pages that may be open at the same time."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Site:
    """Serves a board in a thread of its own.

    board: what it shows; url: where; ended: a fault of the server.
    """

    def __init__(self, address: str, port: int) -> None:
        """Begin to serve on an address and a port, 0 for any that is free.

        Raises InputError where that is not possible.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._socket = socket.create_server((address, port), family=family)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"address is {address!r} and port {port}, which cannot be served on: {error}; choose another port, or 0"
                " for any that is free"
            ) from error
        host = f"[{address}]" if family == socket.AF_INET6 else address
        self.url = f"http://{host}:{self._socket.getsockname()[1]}/"
        self.board = Board(self._wake)
        self._pages = 0
        self._waiting = 0
        self._asked_at = -LOOKING
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._stop = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="site")
        self.ended: Future[None] = self._pool.submit(self._loop.run_until_complete, self._serve())

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at a page."""
        return self._waiting > 0 or time.monotonic() - self._asked_at < LOOKING

    def close(self) -> None:
        """Close all pages' connections and end the thread."""
        with suppress(RuntimeError):  # the thread has ended with a fault
            self._loop.call_soon_threadsafe(self._stop.set)
        self._pool.shutdown()
        self._loop.close()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # closed meanwhile
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[_only_this_site])
        app.router.add_routes([web.get(path, _file(name)) for path, name in FILES.items()])
        app.router.add_get("/news", self._talk)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        await self._stop.wait()
        self._tell()
        await runner.cleanup()

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        """One page's connection: for every message of the page, whatever it says, one of ours."""
        if self._pages >= MOST_PAGES:
            raise web.HTTPServiceUnavailable(text=f"{MOST_PAGES} pages are open already")
        page = web.WebSocketResponse(heartbeat=20.0, max_msg_size=64, compress=False)
        self._pages += 1
        try:
            await page.prepare(request)
            number = 0
            while not self._stop.is_set() and (await page.receive()).type == WSMsgType.TEXT:
                number = await self._answer(page, number)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._pages -= 1
        return page

    async def _answer(self, page: web.WebSocketResponse, number: int) -> int:
        self._asked_at = time.monotonic()
        self._waiting += 1
        try:
            if self.board.number <= number:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), LONGEST_PAUSE)
            message, number = self.board.news(number)
            await page.send_bytes(message)
        finally:
            self._waiting -= 1
        self._asked_at = time.monotonic()
        return number


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _file(name: str) -> _Handler:
    async def send(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(FOLDER / name)

    return send


@web.middleware
async def _only_this_site(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Keep pages of other sites out, which any browser here may have open.

    They can open a WebSocket to this machine, but their origin tells; and where their name was made to mean this
    machine, the name of the host tells.
    """
    if not _is_this_machine(request.host):
        raise web.HTTPForbidden(text="expected an IP address, localhost or this machine's name before the port")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden(text="expected a request of this page itself")
    response = await handler(request)
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    own = socket.gethostname().lower()
    if name in ("localhost", own, f"{own}.local"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
