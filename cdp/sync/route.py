"""How a destination carries out a sync: which operation a row that enters, changes or leaves becomes."""

from __future__ import annotations

from cdp.compile.plan import SyncPlan
from cdp.destination.base import Destination
from cdp.errors import ProjectError
from cdp.sync.diff import Route


def route_of(plan: SyncPlan, destination: Destination) -> Route:
    """The route of a sync; raises ProjectError CDP432 where the destination cannot do what it takes."""
    can = destination.operations
    if plan.mode == "append":
        return _checked(plan, destination, Route(record=True, members=False, enter="append"))
    members = plan.list is not None and "add" in can
    record = not members or ("upsert" in can and bool(plan.fields))
    adds_first = destination.adds_first
    if plan.mode == "upsert" or plan.on_leave in (None, "ignore"):
        return _checked(plan, destination, Route(record, members, "upsert", adds_first=adds_first))
    clear = "upsert" if plan.fields else None
    if plan.on_leave == "clear":
        leave, merged, off_list, off_merged = clear, clear, "remove", "remove"
    elif plan.on_leave == "delete":
        # a merge never deletes a customer: the other record is cleared and taken off the list
        leave, merged, off_list, off_merged = "delete", clear, None, "remove"
    elif members:
        leave, merged, off_list, off_merged = None, None, "remove", "remove"
    else:
        leave, merged, off_list, off_merged = "remove", "remove", None, None
    route = Route(
        record=record,
        members=members,
        enter="upsert",
        leave=leave if record else None,
        merged=merged if record else None,
        list_leave=off_list if members else None,
        list_merged=off_merged if members else None,
        adds_first=adds_first,
    )
    return _checked(plan, destination, route)


def _checked(plan: SyncPlan, destination: Destination, route: Route) -> Route:
    needed = {route.leave, route.merged, route.list_leave, route.list_merged} - {None}
    needed |= {route.enter} if route.record else set()
    needed |= {"add"} if route.members else set()
    missing = sorted(str(one) for one in needed - destination.operations)
    if missing:
        raise ProjectError.of(
            "CDP432",
            f"sync `{plan.name}` needs `{'`, `'.join(missing)}`, which destination `{destination.name}` cannot do",
            hint=f"it can: {', '.join(sorted(destination.operations))}; choose another mode or on_leave, or describe the operation",
        )
    return route
