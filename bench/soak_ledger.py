"""The clients' own record of what they asked, and how it compares with what the server tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import Factory, define

from bench.soak_server import Line, Samples

__all__ = ["Asked", "Ledger", "compare_lines", "compare_metrics"]


@define
class Asked:
    """
    One request.

    :param id: ``None``: it never told one.
    :param kind: what kind of client has sent it.
    :param lines: how many lines of the access log it may have.
    :ivar status: what the client saw, ``None`` where it left before, or none came.
    """

    id: str | None
    kind: str
    lines: Sequence[int] = (1,)
    status: int | None = None


@define
class Ledger:
    """
    All requests.

    :ivar problems: what clients found wrong, with the request's id.
    """

    asked: list[Asked] = Factory(list)
    problems: list[str] = Factory(list)

    def blame(self, asked: Asked, problem: str | None) -> None:
        """Note what is wrong with an answer, if anything is."""
        if problem is not None:
            self.problems.append(f"{asked.id} ({asked.kind}): {problem}")

    def count(self) -> Sequence[tuple[str, int, Mapping[int | None, int]]]:
        """Count by kind: how many, and how many of each status."""
        statuses: dict[str, Counter[int | None]] = {}
        for asked in self.asked:
            statuses.setdefault(asked.kind, Counter())[asked.status] += 1
        return [(kind, counts.total(), counts) for kind, counts in sorted(statuses.items())]


def compare_lines(asked: Iterable[Asked], lines: Iterable[Line]) -> list[str]:
    """Compare the record with the access log: each request once, with the same status."""
    told: dict[str, list[int | None]] = {}
    for request_id, status in lines:
        told.setdefault(request_id, []).append(status)
    problems, nameless = [], 0
    for one in asked:
        if one.id is None:
            nameless += max(one.lines)
            continue
        statuses = told.pop(one.id, [])
        if len(statuses) not in one.lines:
            problems.append(f"{one.id} ({one.kind}): {len(statuses)} access lines")
        # Who has left may not have seen what was on its way.
        if one.status is not None and any(status != one.status for status in statuses):
            problems.append(f"{one.id} ({one.kind}): saw {one.status}, the log has {statuses}")
    # The rest have ids that the server made up.
    rest = sum(map(len, told.values()))
    if rest > nameless:
        problems.append(f"{rest - nameless} access lines of nobody, among {sorted(told)[:5]}")
    return problems


def compare_metrics(samples: Samples, lines: Iterable[Line]) -> list[str]:
    """Compare the access log with ``aiproxy_requests_total``, status by status."""
    counted: Counter[str] = Counter()
    for labels, value in samples.get("aiproxy_requests_total", []):
        counted[labels["status"]] += int(value)
    logged = Counter(str(status or "") for _, status in lines)
    return [
        f"status {status or 'none'}: {counted[status]} in the metrics, {logged[status]} in the log"
        for status in sorted(counted.keys() | logged.keys())
        if counted[status] != logged[status]
    ]
