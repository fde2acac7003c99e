"""
An application on Twisted that has an AI proxy under ``/ai``.

Run it with a port, ``python examples/embedded.py 8000``, then::

    curl -N http://127.0.0.1:8000/ai/v1/chat/completions -H 'Authorization: Bearer sk-example' \
        -d '{"model": "demo/echo", "stream": true,
             "messages": [{"role": "user", "content": "hello there"}]}'
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from aiproxy import Proxy, load_config

CONFIG = """
models:
  - {name: demo/echo, provider: demo}
keys:
  - {name: example, token: sk-example}
"""


def make_application(reactor: Any, port: int) -> MultiService:
    """Make the application: its own page, and the proxy beside it."""
    with TemporaryDirectory() as folder:  # yours has a file of its own
        file = Path(folder) / "provider_config.yaml"
        file.write_text(CONFIG, encoding="utf-8")
        proxy = Proxy(load_config(str(file)), reactor)  # opens nothing yet

    root = Resource()
    root.putChild(b"", Data(b"This is the application.\n", "text/plain"))
    root.putChild(b"ai", proxy.resource())  # /ai/v1/chat/completions

    application = MultiService()
    service: Any = proxy.service
    service.setServiceParent(application)  # stops with the application
    endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    StreamServerEndpointService(endpoint, Site(root)).setServiceParent(application)
    return application


def main(port: int) -> None:
    """Run until a signal."""
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    application = make_application(reactor, port)
    running: Any = reactor
    running.callWhenRunning(application.startService)
    running.addSystemEventTrigger("before", "shutdown", application.stopService)
    running.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
