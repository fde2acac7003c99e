"""The numbers of all workers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.metrics import Dump
from aiproxy.workers.tally import Tally


def dump(requests: int, streams: int) -> Dump:
    """Return a worker's numbers."""
    return {
        "aiproxy_requests": [(["m", "p", "200"], requests)],
        "aiproxy_open_streams": [([], streams)],
    }


class TallyTests(SynchronousTestCase):
    """What is added up, and what is over."""

    def setUp(self) -> None:
        """Two workers have told their numbers."""
        self.tally = Tally()
        self.tally.note(1, dump(3, 1))
        self.tally.note(2, dump(4, 2))

    def read(self) -> tuple[int, int]:
        """Return the requests and the streams."""
        read = self.tally.read()
        return read["aiproxy_requests"][0][1], read.get("aiproxy_open_streams", [([], 0)])[0][1]

    def test_sum(self) -> None:
        """The latest numbers of each are added up."""
        self.tally.note(1, dump(5, 0))
        self.assertEqual(self.read(), (9, 2))

    def test_gone(self) -> None:
        """What a worker that is gone has counted stays, what it had is over."""
        self.tally.leave(2)
        self.assertEqual(self.read(), (7, 1))
        self.tally.note(2, dump(1, 1))
        self.assertEqual(self.read(), (8, 2))
        self.tally.leave(2)
        self.tally.leave(1)
        self.tally.leave(7)
        self.assertEqual(self.read(), (8, 0))
