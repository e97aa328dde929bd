"""Destinations: somewhere rows can be sent, with one verdict per row.

`destination(name, config, project_dir)` connects, `check(config, …)` judges a sync's wishes offline, `catalogue()`
lists what there is. A destination is a folder with a destination.yml: see docs/adding-a-destination.md.
"""

from __future__ import annotations

from cdp.destination.base import Delivery, Destination, accepted
from cdp.destination.catalogue import catalogue
from cdp.destination.connect import check, destination
from cdp.destination.outcome import Again, Answer, Batch, Change, Outcome, Rows, Split, Stop

__all__ = [
    "Again",
    "Answer",
    "Batch",
    "Change",
    "Delivery",
    "Destination",
    "Outcome",
    "Rows",
    "Split",
    "Stop",
    "accepted",
    "catalogue",
    "check",
    "destination",
]
