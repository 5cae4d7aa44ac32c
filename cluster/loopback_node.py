"""`ray start` whose processes listen on 127.0.0.1 alone; `cluster.loopback` runs it.

Ray binds to loopback where a node's address is 127.0.0.1, but on Linux it replaces that address by
the machine's own, and the setting that prevents it also refuses a second node.
"""

from __future__ import annotations

import os

from ray._private import services
from ray.scripts.scripts import main

from qa_lib.machines.ray_session import LOOPBACK_ONLY

if __name__ == "__main__":
    services.node_ip_address_from_perspective = lambda address=None: "127.0.0.1"
    os.environ[LOOPBACK_ONLY] = "0"  # for what it starts: this process has read it already
    main()
