"""Made-up contacts and orders, the same for the same seed: `python generate.py` writes them to data/."""

import csv
import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

NAMES = ("Camille", "Louis", "Jade", "Hugo", "Léa", "Adam", "Manon", "Jules", "Nora", "Omar")
DAYS = 120


def write(out: Path, *, seed: int = 7, people: int = 200, day: int = 1, end: date | None = None) -> None:
    """Write contacts.csv and orders.csv into `out`; the last order lies before the day `end` (default: today).

    `day` 2 is a day later: a few more orders, nothing else. One person in ten stands in the CRM twice.
    """
    rng = random.Random(seed)
    last = datetime.combine(end or datetime.now(UTC).date(), datetime.min.time())
    contacts: list[tuple[object, ...]] = []
    orders: list[tuple[object, ...]] = []
    for number in range(people):
        name, email = rng.choice(NAMES), f"person{number}@example.org"
        country = rng.choice(("FR", "FR", "BE", "CH", ""))
        for copy in range(2 if rng.random() < 0.1 else 1):
            shown = email.upper() if copy else email
            contacts.append((f"c{number}-{copy}", shown, name, country, last - timedelta(days=rng.randint(1, DAYS))))
        for _ in range(rng.choice((0, 1, 1, 2, 4, 8))):
            at = last - timedelta(minutes=rng.randint(1, DAYS * 24 * 60))
            orders.append((f"o{len(orders)}", email, f"{rng.randint(500, 12000) / 100:.2f}", at))
    for number in rng.sample(range(people), k=min(people, 10)) if day == 2 else ():
        at = last - timedelta(minutes=rng.randint(1, 600))
        orders.append((f"o{len(orders)}", f"person{number}@example.org", "150.00", at))
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "contacts.csv", ("contact_id", "email", "first_name", "country", "updated_at"), contacts)
    _write(out / "orders.csv", ("order_id", "email", "amount", "ordered_at"), orders)


def _write(path: Path, head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path("data"))
