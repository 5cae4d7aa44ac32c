"""A page on this machine that asks a model, and its parent beside it, for comparison.

server = demo.open_server(settings, make_page)      # http://127.0.0.1:8321/
server.serve_forever()
"""

from __future__ import annotations

from qa_lib.serving.demo.server import DemoServer, open_server

__all__ = ["DemoServer", "open_server"]
