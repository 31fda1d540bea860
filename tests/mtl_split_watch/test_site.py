"""The page is served to this site's own pages alone, and somebody looks only while a page asks."""

import asyncio
import socket
from collections.abc import Iterator

import aiohttp
import pytest

from mtl_split_core.errors import InputError
from mtl_split_watch import site as site_module
from mtl_split_watch.board import Picture
from mtl_split_watch.site import FILES, Site

from .pages import opened


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site("127.0.0.1", 0)
    yield site
    site.close()
    assert site.ended.result() is None


async def status(url: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        await response.read()
        return response.status


def test_every_file_of_the_page_is_served_and_nothing_else(site: Site) -> None:
    for path in FILES:
        assert asyncio.run(status(site.url + path[1:])) == 200
    for path in ("node.py", "../site.py", "%2e%2e/site.py"):
        assert asyncio.run(status(site.url + path)) == 404


def test_the_page_asks_for_nothing_from_elsewhere(site: Site) -> None:
    async def look() -> tuple[str, str]:
        async with aiohttp.ClientSession() as session, session.get(site.url) as response:
            return response.headers["Content-Security-Policy"], await response.text()

    policy, page = asyncio.run(look())
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'") and "unsafe" not in policy
    assert "http" not in page


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]:8080", "localhost:8080", "192.168.1.7", socket.gethostname()])
def test_who_uses_an_address_or_this_machines_name_is_let_in(site: Site, host: str) -> None:
    assert asyncio.run(status(site.url, Host=host)) == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example", "[::1", ""])
def test_a_strangers_name_that_means_this_machine_is_refused(site: Site, host: str) -> None:
    assert asyncio.run(status(site.url, Host=host)) in (400, 403)


def test_a_page_of_another_site_cannot_listen(site: Site) -> None:
    async def listen(origin: str) -> None:
        async with opened(site.url, Origin=origin) as page:
            await page.ask()

    asyncio.run(listen(site.url.rstrip("/")))
    for origin in ("http://evil.example", "http://127.0.0.1", "null"):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            asyncio.run(listen(origin))


def test_a_picture_is_sent_to_whoever_asks_and_the_newest_to_who_is_slow(site: Site) -> None:
    async def look() -> None:
        site.board.set_vehicles({"/car1": ""}, {})
        async with opened(site.url) as page, opened(site.url) as slow:
            await slow.ask()
            for jpeg in (b"1", b"2", b"3"):
                site.board.show("/car1", Picture(jpeg, None, {}))
                news = await page.find(lambda news: news.pictures)
                assert news.pictures == {"/car1": jpeg}
            assert (await slow.ask()).pictures == {"/car1": b"3"}

    asyncio.run(look())


def test_somebody_looks_only_while_a_page_asks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        assert not site.is_watched
        async with opened(site.url) as page:
            assert not site.is_watched, "as with a page in a hidden tab"
            await page.ask()
            assert site.is_watched
            monkeypatch.setattr(site_module, "LOOKING", 0.0)
            while site.is_watched:  # until the server, too, knows that the page has its answer
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(look(), 60))


def test_too_many_pages_and_a_page_that_writes_too_much_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_module, "MOST_PAGES", 1)

    async def look() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}news") as page:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                async with opened(site.url):
                    pass
            await page.send_str("next" * 100)
            assert (await page.receive()).type == aiohttp.WSMsgType.CLOSE

    asyncio.run(look())


def test_an_address_that_cannot_be_served_on_is_named(site: Site) -> None:
    port = int(site.url.rsplit(":", 1)[1].strip("/"))
    for address, number in (("127.0.0.1", port), ("192.0.2.1", 0), ("no such name", 0)):
        with pytest.raises(InputError, match="choose another port"):
            Site(address, number)
