"""A stand-in for Google's metadata server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Metadata:
    """Stands in for Google's metadata server on this machine."""

    def __init__(self) -> None:
        self.is_preempted = threading.Event()
        self.asked = threading.Event()
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        notice, asked = self.is_preempted, self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.headers["Metadata-Flavor"] == "Google"
                assert self.path.partition("?")[0] == "/instance/preempted"
                if "wait_for_change=true" in self.path:
                    asked.set()
                    if self.path.endswith("&last_etag=before"):
                        notice.wait(2)
                self.send_response(200)
                self.send_header("ETag", "after" if notice.is_set() else "before")
                self.end_headers()
                self.wfile.write(b"TRUE" if notice.is_set() else b"FALSE")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        yield
        self.is_preempted.set()
        server.shutdown()
        server.server_close()
        thread.join()
