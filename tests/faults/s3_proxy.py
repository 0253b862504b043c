"""An HTTP proxy before an S3 service that does what networks do: refuses, stalls, resets, and loses answers."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

REFUSED: Final = "503"
STALLED: Final = "timeout"
RESET: Final = "reset"
ANSWER_LOST: Final = "answer lost"
_KINDS: Final = (REFUSED, STALLED, RESET, ANSWER_LOST)
_WEIGHTS: Final = (3, 1, 3, 3)  # a stall costs its client seconds
_SLOW_DOWN: Final = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Slow down</Message></Error>"
_NOT_FORWARDED: Final = {"connection", "transfer-encoding", "keep-alive", "expect", "content-length"}


class FaultyProxy:
    """Forwards requests to an S3 service; a share of them meets a fault.

    Args:
        upstream: URL of the service.
        share: of the requests that meet a fault, 0 to 1. It may be changed at any time.
        seed: of the dice.
        stall_s: a stalled request is held so long, then reset: longer than the clients' own time limits.

    Attributes:
        url: where clients go instead.
        script: faults (or None) that the next requests meet, before the dice decide.
        loses_first_commits: loses the answer of each table's first commit after its creation.
        requests: how many there were.
        faults: how many of each kind.
        ambiguous: conditional writes that were stored while the answer was lost, by what was written.
    """

    def __init__(self, upstream: str, *, share: float, seed: int = 0, stall_s: float = 1.5) -> None:
        parts = urlsplit(upstream)
        self.address = (parts.hostname or "", parts.port or 80)
        self.share = share
        self.stall_s = stall_s
        self.script: deque[str | None] = deque()
        self.loses_first_commits = False
        self.requests = 0
        self.faults: Counter[str] = Counter()
        self.ambiguous: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def draw(self, command: str, path: str) -> str | None:
        """The fault that the next request meets, if any."""
        with self._lock:
            self.requests += 1
            if (
                self.loses_first_commits
                and command == "PUT"
                and path.endswith("/_delta_log/00000000000000000001.json")
            ):
                fault: str | None = None if path in self._seen else ANSWER_LOST
                self._seen.add(path)
            elif self.script:
                fault = self.script.popleft()
            elif self._chance.random() < self.share:
                (fault,) = self._chance.choices(_KINDS, _WEIGHTS)
            else:
                fault = None
            if fault:
                self.faults[fault] += 1
            return fault

    def count_ambiguous(self, path: str) -> None:
        """Count a conditional write that was stored without its sender being told."""
        with self._lock:
            self.ambiguous["commits" if "/_delta_log/" in path else "landing objects"] += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: FaultyProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _serve(self) -> None:
        body = self._body()
        proxy = self.server.proxy
        fault = proxy.draw(self.command, self.path)
        if fault == REFUSED:
            self._answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN)
        elif fault in {STALLED, RESET}:
            if fault == STALLED:
                time.sleep(proxy.stall_s)
            self._reset()
        else:
            answer, content = self._forward(body)
            if fault is None:
                self._answer(answer.status, answer.getheaders(), content, answer.getheader("Content-Length"))
                return
            if self.headers.get("If-None-Match") and answer.status == 200:
                proxy.count_ambiguous(self.path)
            if self.command == "GET" and len(content) > 1:  # the answer breaks off in its middle
                self._answer(answer.status, answer.getheaders(), content[: len(content) // 2], str(len(content)))
            self._reset()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _forward(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        upstream = HTTPConnection(*self.server.proxy.address, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_FORWARDED}
        try:
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            return answer, answer.read()
        except HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            upstream.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _NOT_FORWARDED:
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        """Hang up with RST, as a broken path does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
