"""
``twistd aiproxy``: the plugin that twistd finds by this file's place.

Every twistd of this interpreter reads this file, whichever plugin it is to
run, so it imports nothing of aiproxy; ``aiproxy.tap`` is imported when chosen.
"""

from twisted.application.service import ServiceMaker

aiproxy = ServiceMaker(
    "aiproxy",
    "aiproxy.tap",
    "OpenAI's HTTP API in front of every AI provider.",
    "aiproxy",
)
