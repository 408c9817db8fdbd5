"""Check every link of a site: so many requests at once and no more, with time limits, tried again where that helps.

The site is made up and served by the program itself, on loopback: 2,000 pages with links to each other. Some links lead
nowhere, some pages have moved, some fail when they are first asked for, some never answer, and the server turns away
whoever comes with more requests at once than it likes, as real ones do.

    python examples/linkchecker.py
    python examples/linkchecker.py --pages 200 --limit 5
    python examples/linkchecker.py --limit 200          # too many at once: see what the server says

It uses `plait.asyncio.amap`, which asyncio does not have: the links that are found while others are being checked are
fed to it as it goes, and it keeps `limit` requests under way, no more. At a terminal it shows a progress bar (tqdm's).
"""

import argparse
import random
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from plait import asyncio

SERVER_LIKES = 100  # requests at once
SHOWN = 6  # lines for each kind of problem


# ---------------------------------------------------------------- the site


class Site:
    """A made-up site: the same pages, links and faults each time."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.asked: dict[str, int] = {}
        self.inside = self.most = self.turned_away = 0

    def links(self, number: int) -> list[str]:
        """Where a page leads: onwards, to six pages anywhere, and sometimes to where there is nothing."""
        chance = random.Random(number)
        onwards = [each for each in (2 * number + 1, 2 * number + 2) if each < self.pages]
        targets = [f"/page/{each}" for each in (*onwards, *chance.sample(range(self.pages), min(6, self.pages)))]
        if number % 97 == 5:
            targets.append(f"/gone/{number}")
        return [*targets, "mailto:nobody@localhost", "#top"]

    def answer(self, path: str) -> tuple[int, str]:
        """Status and body, or where the page has moved to. A status of 0: no answer at all."""
        kind, _, number = path.strip("/").partition("/")
        if kind == "new" and number.isdigit():
            return 200, self.body(int(number))
        if path == "/":
            kind, number = "page", "0"
        if kind != "page" or not number.isdigit() or int(number) >= self.pages:
            return 404, "nothing here"
        self.asked[path] = tries = self.asked.get(path, 0) + 1
        match int(number):
            case each if each % 50 == 7:
                return 301, f"/new/{each}"
            case each if each % 61 == 9 and tries <= 2:
                return 503, "try again"
            case each if each % 331 == 11 and each % 50 != 7:
                return 0, ""
            case each:
                return 200, self.body(each)

    def body(self, number: int) -> str:
        """The page itself."""
        links = "".join(f'<li><a href="{link}">{link}</a></li>' for link in self.links(number))
        return f"<!doctype html><title>page {number}</title><ul>{links}</ul>"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request on each connection."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split()[1].decode()
            if self.inside > SERVER_LIKES:
                self.turned_away += 1
                status, body = 429, "too many at once"
            else:
                status, body = self.answer(path)
            if not status:
                await reader.read()  # until the client gives up
                return
            head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
            if status == 301:
                head += f"Location: {body}\r\n"
            await asyncio.sleep(0.001)
            writer.write(f"{head}\r\n{body}".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            self.inside -= 1
            writer.close()


# ---------------------------------------------------------------- the checker


class Links(HTMLParser):
    """Collects where a page leads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        if tag == "a":
            self.found += [value for name, value in attributes if name == "href" and value]


@dataclass(frozen=True)
class Link:
    """What became of one link."""

    path: str
    outcome: str  # "ok", "moved", or what is wrong with it
    tries: int
    leads_to: tuple[str, ...] = ()


async def get(host: str, port: int, path: str) -> tuple[int, str, str]:
    """One GET: status, where the page has moved to, and the body."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        if not body and not head:
            raise ConnectionResetError("hung up")
        location = [line.partition(": ")[2] for line in head.splitlines() if line.startswith("Location: ")]
        return int(head.split()[1]), "".join(location), body
    finally:
        writer.close()


@dataclass
class Checker:
    """Checks a site, beginning at `/`."""

    host: str
    port: int
    limit: int
    seconds: float
    retries: int
    links: list[Link] = field(default_factory=list)
    found_on: dict[str, str] = field(default_factory=dict)

    async def run(self) -> None:
        """Check all that can be reached."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.found_on["/"] = "the beginning"
        queue.put_nowait("/")
        left = 1

        async def found() -> AsyncIterator[str]:
            while (path := await queue.get()) is not None:
                yield path

        async for link in asyncio.amap(self.check, found(), limit=self.limit, ordered=False, progress="links"):
            self.links.append(link)
            for path in link.leads_to:
                if path not in self.found_on:
                    self.found_on[path] = link.path
                    queue.put_nowait(path)
                    left += 1
            left -= 1
            if not left:
                queue.put_nowait(None)

    async def check(self, path: str) -> Link:
        """Ask for a page, again after a pause where the trouble may pass."""
        for tries in range(1, self.retries + 2):
            try:
                async with asyncio.timeout(self.seconds):
                    status, location, body = await get(self.host, self.port, path)
            except TimeoutError:
                outcome = "no answer"
            except OSError as error:
                outcome = type(error).__name__
            else:
                match status:
                    case 200:
                        return Link(path, "ok", tries, self._leads_to(path, body))
                    case 301 | 302 | 307 | 308:
                        return Link(path, "moved", tries, self._leads_to(path, f'<a href="{location}">'))
                    case 429 | 500 | 502 | 503 | 504:
                        outcome = f"status {status}"
                    case _:
                        return Link(path, f"status {status}", tries)
            if tries <= self.retries:
                await asyncio.sleep(0.02 * 2**tries)
        return Link(path, outcome, tries)

    def _leads_to(self, path: str, body: str) -> tuple[str, ...]:
        """The pages of this site that a page leads to, each once, in order."""
        parser = Links()
        parser.feed(body)
        here = f"http://{self.host}:{self.port}{path}"
        targets = [urlsplit(urljoin(here, link)) for link in parser.found]
        return tuple(dict.fromkeys(target.path for target in targets if target.port == self.port))


def report(checker: Checker, site: Site) -> None:
    """What was found: the same lines each time."""
    links = sorted(checker.links, key=lambda link: (link.outcome, len(link.path), link.path))
    broken = [link for link in links if link.outcome not in ("ok", "moved")]
    print(f"links    {len(links):,}")
    print(f"ok       {sum(link.outcome == 'ok' for link in links):,}")
    print(f"moved    {sum(link.outcome == 'moved' for link in links):,}")
    print(f"broken   {len(broken):,}")
    print(f"retried  {sum(link.tries > 1 for link in links):,}")
    print(f"at once  {'within the limit' if site.most <= checker.limit else f'{site.most}, over the limit'}")
    if site.turned_away:
        print(f"the server turned away {site.turned_away:,} requests: more than {SERVER_LIKES} came at once")
    for outcome in dict.fromkeys(link.outcome for link in broken):
        those = [link for link in broken if link.outcome == outcome]
        print(f"\n{outcome}: {len(those)}")
        for link in those[:SHOWN]:
            print(f"    {link.path}")
        if len(those) > SHOWN:
            print(f"    and {len(those) - SHOWN} more")


async def main(options: argparse.Namespace) -> int:
    """Serve the site and check it; returns the exit code."""
    site = Site(options.pages)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, backlog=1000)
    async with server:
        host, port = server.sockets[0].getsockname()
        checker = Checker(host, port, options.limit, options.timeout, options.retries)
        await checker.run()
    report(checker, site)
    return 1 if any(link.outcome not in ("ok", "moved") for link in checker.links) else 0


def positive(text: str) -> int:
    """An argument that counts."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Check every link of a made-up site of many pages.")
    parser.add_argument("--pages", type=positive, default=2000, help="default: %(default)s")
    parser.add_argument("--limit", type=positive, default=50, help="requests at once (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=0.5, help="seconds for a request (default: %(default)s)")
    parser.add_argument("--retries", type=int, default=3, help="further tries (default: %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(arguments())))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
