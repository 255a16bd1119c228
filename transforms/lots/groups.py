"""Which securities are one, and which have to do with one another.

A group is a set of substantially identical securities: losses and purchases are matched inside it. A family is a
set of groups that lots travel between (a spin-off, a merger) or whose purchases replace another's losses (an
option and its underlying): the walk through time takes one family at a time.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from transforms.model import Action, Event, Exercise, Trade


def united(events: Iterable[Event], identical: Mapping[str, str]) -> dict[str, str]:
    """security_id -> group, with the old and the new symbol of one security in one group.

    >>> from datetime import date
    >>> united([Action("C1", "symbol_change", "FB", date(2022, 6, 9), new_security_id="META")], {})
    {'META': 'FB'}
    """
    groups = dict(identical)
    for event in events:  # in time, so that a security that changes its symbol twice stays one
        if isinstance(event, Action) and event.kind == "symbol_change":
            old = groups.get(event.security_id, event.security_id)
            new = groups.get(event.new_security_id, event.new_security_id)
            if new == event.new_security_id:
                groups[event.new_security_id] = old
            elif old != new:  # two groups that the household named are one
                groups = {security: old if group == new else group for security, group in groups.items()}
    return groups


def families(events: Iterable[Event], groups: Mapping[str, str]) -> Iterator[Sequence[Event]]:
    """The events of each family, in the order in which they came."""
    head: dict[str, str] = {}

    def find(group: str) -> str:
        while (above := head.get(group, group)) != group:
            head[group] = head.get(above, above)
            group = above
        return group

    listed = list(events)
    for event in listed:
        first, *others = (groups.get(security, security) for security in securities_of(event))
        for other in others:
            head[find(other)] = find(first)
    found: dict[str, list[Event]] = defaultdict(list)
    for event in listed:
        found[find(groups.get(event.security_id, event.security_id))].append(event)
    yield from found.values()


def securities_of(event: Event) -> list[str]:
    if isinstance(event, Action):
        return [event.security_id, event.new_security_id] if event.new_security_id else [event.security_id]
    if isinstance(event, Trade | Exercise) and event.option is not None:
        return [event.security_id, event.option.underlying_id]
    return [event.security_id]
