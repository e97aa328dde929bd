"""The data of the example shop: two days of a made-up shop, the same bytes for the same seed.

    python generate.py --seed 7 --people 2000 --day 1 --out data/

Day 1 is 270 days of history up to 2026-03-01: build it with `--as-of 2026-03-02T00:00:00Z`. Day 2 is one
day more, `--as-of 2026-03-03T00:00:00Z`: new files of events and orders beside the old ones, contacts and
subscriptions written anew. `--end today` moves every date so that the last day is yesterday.

The traps of real customer data are built in: people with several devices, mails and CRM records, a mail
that a family shares, an office's mailbox, a tablet on the kitchen table, junk in every identifier, messages
delivered twice. `truth` says whose each record really is, so that an identity graph can be measured.
"""

import argparse
import csv
import json
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

HISTORY = 270  # days
END_OF_DAY_1 = date(2026, 3, 2)  # exclusive; the `as_of` for a build of day 1
OFFICE_SIZE = 21  # people behind one office mailbox
COMPANY = "greenroom.example"
ZERO_UUID = "00000000-0000-0000-0000-000000000000"
JUNK_EMAILS = (None, "test@test.com", "n/a", "null", f"noreply@{COMPANY}", f"till2@{COMPANY}")
FIRST_NAMES = """
    Camille Louis Jade Hugo Léa Adam Manon Jules Inès Nathan Chloé Léo Zoé Ethan Lina Tom Sarah Noé Eva Paul
    Anaïs Marc Julie Karim Nora Luc Élise Yves Maud Théo Rosa Omar Clara Rémi Aya Félix Agnès Simon
"""
LAST_NAMES = """
    Martin Bernard Dubois Thomas Robert Petit Durand Leroy Moreau Laurent Lefèvre Roux Fournier Girard Bonnet
    Dupont Lambert Fontaine Rousseau Muller Faure Blanc Guérin Boyer Garnier Masson Perrin Morel Renard
    Benali Haddad Nguyen Peeters Janssens Favre Rochat O'Brien
"""
STREETS = ("rue des Lilas", "rue du Moulin", "avenue Foch", "quai Nord", "place du Marché", "cour du Four")
CITIES = (
    ("75011", "Paris", "FR"),
    ("69003", "Lyon", "FR"),
    ("44000", "Nantes", "FR"),
    ("01000", "Bourg", "FR"),
    ("59800", "Lille", "FR"),
    ("1050", "Bruxelles", "BE"),
    ("1204", "Genève", "CH"),
)
PHONE_RANGES = ("19900", "26191", "35301", "46571", "53649", "63998")  # kept free for fiction in France
CATEGORIES = ("garden", "kitchen", "books", "toys", "tea", "home")
PRODUCTS = tuple(
    (f"{name[:2]}-{n:02d}", name, 490 + 370 * n + 130 * i)  # sku, category, price in cents
    for i, name in enumerate(CATEGORIES)
    for n in range(1, 8)
)
PLANS = (("basic", "4.90", "bronze"), ("box", "14.90", "silver"), ("family", "24.90", "gold"))

Row = dict[str, object]  # column -> text, number, datetime (UTC), date, None
Steps = list[tuple[str, Row]]  # an event's name and its properties


@dataclass(frozen=True)
class Person:
    """One real person and all that the shop's systems may know of them."""

    number: int
    kind: str  # private | business | staff
    first_name: str
    last_name: str
    birth: date
    home: tuple[str, ...]  # street, postcode, city, country; all who share it are one household
    emails: tuple[str, ...]  # their own, the main one first
    shared_email: str | None  # the family's or the office's
    phone: str | None  # nine digits, without the leading 0
    user_id: str | None  # None: no account in the web shop
    loyalty_id: str | None
    devices: tuple[str, ...]  # anonymous ids
    in_crm: bool
    lapsed: bool  # has bought nothing for months
    late: str | None  # what day 2 brings together: `device` or `account` with the rest

    def owner(self, side: str) -> str:
        """Whose a record is. A side that nothing links to the rest on day 1 has a name of its own."""
        return f"p{self.number}/{side}" if self.late == side else f"p{self.number}"


def write(out: Path, *, seed: int = 7, people: int = 2000, day: int = 1, end: date | None = None) -> None:
    """Write the files of day 1 or day 2 into the folder `out`, in place of those that are there.

    `end` moves all dates so that the last day of the data is the one before it. Raises ValueError for another
    day, or for fewer than 100 people.
    """
    shop = _shop(seed, people, day)
    shift = end - END_OF_DAY_1 - timedelta(days=day - 1) if end else timedelta(0)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("events_2.jsonl", "orders_2.csv", "order_lines_2.csv"):  # when going back to day 1
        (out / name).unlink(missing_ok=True)
    for number in range(1, day + 1):
        _write_csv(out / f"orders_{number}.csv", shop.orders[number], shift)
        _write_csv(out / f"order_lines_{number}.csv", shop.order_lines[number], shift)
        _write_jsonl(out / f"events_{number}.jsonl", shop.events[number], shift)
    _write_csv(out / "contacts.csv", shop.contacts.values(), shift)
    _write_csv(out / "subscriptions.csv", shop.subscriptions.values(), shift)
    products = ({"sku": sku, "category": name, "price": _money(price)} for sku, name, price in PRODUCTS)
    plans = ({"code": code, "monthly_price": price, "tier": tier} for code, price, tier in PLANS)
    _write_csv(out / "products.csv", products, shift)
    _write_csv(out / "plans.csv", plans, shift)


def truth(*, seed: int = 7, people: int = 2000, day: int = 1) -> dict[tuple[str, str], str]:
    """Whose each record is: (source, key) -> person, for contacts, subscriptions, orders and web.

    Sides of a person that no record of that day links are told apart: `p12` and `p12/device` on day 1 are
    both `p12` on day 2. Rows that name nobody, and deleted contacts, are left out.
    """
    owners = _shop(seed, people, day).owners
    return {record: owner.partition("/")[0] if day == 2 else owner for record, owner in owners.items()}


def _shop(seed: int, people: int, day: int) -> "Shop":
    if day not in (1, 2) or people < 100:
        raise ValueError(f"day is 1 or 2 and people at least 100; got day {day} and {people} people")
    crowd = list(_people(random.Random(f"{seed}:people"), people))
    shop = Shop(random.Random(f"{seed}:day 1"), day=1)
    shop.live_through_history(crowd)
    if day == 2:
        shop.rng, shop.day = random.Random(f"{seed}:day 2"), 2
        shop.live_one_day_more(crowd)
    for events in shop.events.values():
        events.sort(key=lambda row: (str(row["received_at"]), str(row["message_id"])))
    return shop


def _people(rng: random.Random, people: int) -> Iterator[Person]:
    """First the offices, then households of one to four: two adults at most, the others are children."""
    number = 0
    for office in range(people // 400):
        for number in range(office * OFFICE_SIZE, (office + 1) * OFFICE_SIZE):
            mailbox = f"contact@office-{office}.example"
            yield _person(rng, number, "business", ("", "", "", "FR"), shared=mailbox)
    number = people // 400 * OFFICE_SIZE
    while number < people:
        size = min(rng.choices((1, 2, 3, 4), weights=(50, 25, 10, 15))[0], people - number)
        home, last_name, tablet = _home(rng, number), rng.choice(LAST_NAMES.split()), _uuid(rng)
        shared = f"family.{_ascii(last_name)}{number}@example.org" if size >= 3 else None
        for place in range(size):
            alone = "staff" if size == 1 and rng.random() < 0.03 else "private"
            kind = "child" if place >= 2 else alone
            yield _person(rng, number, kind, home, last_name, shared, tablet if size == 4 else None)
            number += 1


def _person(
    rng: random.Random,
    number: int,
    kind: str,
    home: tuple[str, ...],
    last_name: str | None = None,
    shared: str | None = None,
    tablet: str | None = None,
) -> Person:
    first_name, last_name = rng.choice(FIRST_NAMES.split()), last_name or rng.choice(LAST_NAMES.split())
    adult = kind in ("private", "staff")
    web, loyal = adult and rng.random() < 0.7, adult and rng.random() < 0.4
    late = rng.choices((None, "device", "account"), weights=(94, 4, 2))[0]
    if not web or loyal or shared:
        late = None
    mails = tuple(f"{_ascii(first_name)}.{_ascii(last_name)}{number}@example.{end}" for end in ("com", "net"))
    devices = [_uuid(rng) for _ in range(rng.choice((1, 1, 2, 3)) + (late == "device"))]
    born = rng.randint(2009, 2018) if kind == "child" else rng.randint(1945, 2004)
    return Person(
        number,
        "private" if kind == "child" else kind,
        first_name,
        last_name,
        birth=date(born, rng.randint(1, 12), rng.randint(1, 28)),
        home=home,
        emails=() if not adult else mails if late or rng.random() < 0.3 else mails[:1],
        shared_email=shared,
        phone=None if kind == "child" or rng.random() < 0.1 else _phone(number),
        user_id=f"u{10000 + number}" if web else None,
        loyalty_id=f"L{500000 + number}" if loyal else None,
        devices=(*devices, *([tablet] if tablet else [])) if web else (),
        in_crm=not web or loyal or late == "account" or kind == "staff" or rng.random() < 0.6,
        lapsed=rng.random() < 0.3,
        late=late,
    )


class Shop:
    """All rows of the shop, and whose they are. Orders and events: a file a day; the rest is one export."""

    def __init__(self, rng: random.Random, day: int) -> None:
        self.rng, self.day = rng, day
        self.contacts: dict[str, Row] = {}
        self.subscriptions: dict[str, Row] = {}
        self.orders: dict[int, list[Row]] = {1: [], 2: []}
        self.order_lines: dict[int, list[Row]] = {1: [], 2: []}
        self.events: dict[int, list[Row]] = {1: [], 2: []}
        self.owners: dict[tuple[str, str], str] = {}

    # ---- day 1 ----

    def live_through_history(self, crowd: list[Person]) -> None:
        rng = self.rng
        for person in crowd:
            oldest = 80 if person.lapsed else 0
            if person.in_crm:
                self.add_contacts(person)
            if person.user_id:
                self.browse(person, oldest)
                if rng.random() < 0.22:
                    self.subscribe(person)
            if person.user_id or person.loyalty_id or (person.emails and not person.shared_email):
                for _ in range(min(25, int(rng.expovariate(0.3)))):
                    self.order(person, self.moment(rng.randint(oldest, HISTORY - 1)))
        for _ in range(len(crowd) // 5):  # visitors whom nobody knows
            device = _uuid(rng)
            for _ in range(rng.choice((1, 1, 2, 5))):
                self.visit(f"v{device[:8]}", device, None, self.moment(rng.randint(0, 60)), self.views())
        for _ in range(len(crowd) // 50):  # an app that sends words for ids; browsers that hide their id
            device, user_id = _uuid(rng), rng.choice(("null", "undefined"))
            self.visit(f"v{device[:8]}", device, user_id, self.moment(rng.randint(0, 90)), self.views())
            self.visit(None, ZERO_UUID, None, self.moment(rng.randint(0, 90)), self.views())
        for row in rng.sample(self.events[1], len(self.events[1]) // 300):  # delivered twice
            self.events[1].append({**row, "received_at": _later(row["received_at"], minutes=20)})

    def add_contacts(self, person: Person) -> None:
        """The CRM record of a person, and sometimes a second one from a list that somebody imported."""
        rng = self.rng
        known_elsewhere = person.late is None and (person.user_id or person.loyalty_id)
        junk = known_elsewhere and not person.shared_email and rng.random() < 0.08
        email = rng.choice(JUNK_EMAILS) if junk else person.emails[0] if person.emails else None
        if person.shared_email and person.kind == "private":
            email = person.shared_email
        tells_account = person.late is None and (junk or person.shared_email or rng.random() < 0.5)
        created = self.moment(rng.randint(40, HISTORY - 1))
        updated = _later(created, days=rng.randint(0, 39))
        row = self.contact(person, created, updated, email, bool(tells_account))
        own_mail = person.emails and not person.shared_email and not person.late
        if own_mail and person.phone and rng.random() < 0.12:
            imported = _later(created, days=rng.randint(0, 39))
            self.put(
                person,
                {
                    **row,
                    "crm_id": f"C{100001 + 2 * person.number}",
                    "user_id": None,
                    "loyalty_id": None,
                    "email": person.emails[-1] if person.user_id else None,
                    "work_email": None,
                    "phone": None if person.user_id else self.spell_phone(person.phone),
                    "first_name": person.first_name.upper(),
                    "last_name": person.last_name.upper(),
                    "birth_date": None,
                    "street": None,
                    "postcode": None,
                    "city": None,
                    "origin": "fair",
                    "created_at": imported,
                    "updated_at": imported,
                },
            )

    def contact(self, person: Person, created: datetime, updated: datetime, email: str | None, account: bool) -> Row:
        rng, home = self.rng, person.home
        mailbox = person.shared_email if person.kind == "business" else None
        if person.kind == "staff":
            mailbox = f"{_ascii(person.first_name)}.{_ascii(person.last_name)}{person.number}@{COMPANY}"
        if email and rng.random() < 0.2:
            email = rng.choice((email.upper(), email.title(), f" {email} "))
        return self.put(
            person,
            {
                "crm_id": f"C{100000 + 2 * person.number}",
                "user_id": person.user_id if account else None,
                "loyalty_id": person.loyalty_id or rng.choice((None, None, None, "n/a")),
                "email": email,
                "work_email": mailbox,
                "phone": self.spell_phone(person.phone),
                "first_name": person.first_name,
                "last_name": person.last_name,
                "birth_date": f"{person.birth:%d/%m/%Y}",  # text: birthdays don't move with `end`
                "street": home[0],
                "postcode": home[1],
                "city": home[2],
                "country": home[3],
                "kind": person.kind,
                "origin": rng.choice(("web", "store", "fair")),
                "newsletter": rng.choice(("true", "true", "false")),
                "created_at": created,
                "updated_at": updated,
                "deleted_at": None,
            },
        )

    def put(self, person: Person, contact: Row) -> Row:
        key = str(contact["crm_id"])
        self.contacts[key], self.owners["contacts", key] = contact, person.owner("crm")
        return contact

    def browse(self, person: Person, oldest: int) -> None:
        """Every device but the late one logs in at first; half of its later visits are anonymous."""
        rng, owner = self.rng, person.owner("account")
        for device in person.devices:
            if person.late == "device" and device == person.devices[-1]:
                for _ in range(3):
                    when = self.moment(rng.randint(0, 30))
                    self.visit(person.owner("device"), device, None, when, self.views())
                continue
            first = rng.randint(oldest, HISTORY - 1)
            mail = {"device": person.emails[0], "account": person.emails[-1], None: rng.choice(person.emails)}
            self.visit(owner, device, person.user_id, self.moment(first), self.views(), mail[person.late])
            for _ in range(min(8, int(rng.expovariate(0.6)))):
                user_id = person.user_id if rng.random() < 0.5 else None
                steps = self.views() if rng.random() < 0.7 else self.cart()
                self.visit(owner, device, user_id, self.moment(rng.randint(oldest, first)), steps)
        if person.late is None and len(person.emails) > 1:  # the account knows both mails
            for address in person.emails:
                when = self.moment(rng.randint(oldest, HISTORY - 1))
                self.visit(owner, person.devices[0], person.user_id, when, [], address)

    def subscribe(self, person: Person) -> None:
        rng, key = self.rng, f"S{person.number:05d}"
        started = self.moment(rng.randint(5, HISTORY - 1))
        status = rng.choices(("active", "past_due", "cancelled"), weights=(80, 8, 12))[0]
        renews = END_OF_DAY_1 + timedelta(days=rng.randint(3, 120))
        self.subscriptions[key] = {
            "subscription_id": key,
            "user_id": person.user_id,
            "plan_code": rng.choice(PLANS)[0],
            "status": status,
            "started_at": started,
            "renews_at": None if status == "cancelled" else renews,
            "cancelled_at": _later(started, days=4) if status == "cancelled" else None,
        }
        self.owners["subscriptions", key] = person.owner("account")

    # ---- day 2 ----

    def live_one_day_more(self, crowd: list[Person]) -> None:
        """Visits, orders, newcomers, moves, deletions, refunds, cancellations, logins that merge profiles."""
        rng, now = self.rng, -1
        for person in crowd:
            if person.late:  # the anonymous device logs in, or the account gives the CRM's mail
                device, mail = person.devices[-1 if person.late == "device" else 0], person.emails[0]
                self.visit(person.owner(""), device, person.user_id, self.moment(now), self.views(), mail)
            elif person.user_id and rng.random() < 0.08:
                steps = self.views() if rng.random() < 0.6 else self.cart()
                self.visit(person.owner(""), person.devices[0], person.user_id, self.moment(now), steps)
            if (person.user_id or person.loyalty_id) and rng.random() < 0.03:
                self.order(person, self.moment(now))
        self.change_contacts()
        for order in rng.sample(self.orders[1], len(self.orders[1]) // 150):  # they come again, refunded
            self.orders[2].append({**order, "status": "refunded", "loaded_at": self.moment(now)})
        active = [key for key, row in self.subscriptions.items() if row["status"] == "active"]
        for key in rng.sample(active, len(active) // 25):
            end: Row = {"status": "cancelled", "renews_at": None, "cancelled_at": self.moment(now)}
            self.subscriptions[key] = {**self.subscriptions[key], **end}
        for number in range(len(crowd), len(crowd) + len(crowd) // 100):
            person = _person(rng, number, "private", _home(rng, number))
            joined = self.moment(now)
            self.contact(person, joined, joined, person.emails[0], account=True)
            self.order(person, self.moment(now))

    def change_contacts(self) -> None:
        """Of 200 records six move house, two are marked as deleted, and one is gone from the export."""
        rng = self.rng
        for key, row in list(self.contacts.items()):
            roll = rng.random()
            if roll < 0.03 and row["street"]:
                street, postcode, city, country = _home(rng, rng.randint(10_000, 99_999))
                self.contacts[key] = {
                    **row,
                    "street": street,
                    "postcode": postcode,
                    "city": city,
                    "country": country,
                    "updated_at": self.moment(-1),
                }
            elif 0.5 <= roll < 0.515:
                del self.owners["contacts", key]
                deleted = self.moment(-1)
                self.contacts[key] = {**row, "updated_at": deleted, "deleted_at": deleted}
                if roll >= 0.51:
                    del self.contacts[key]

    # ---- what people do ----

    def visit(
        self,
        owner: str | None,
        device: str,
        user_id: str | None,
        start: datetime,
        steps: Steps,
        email: str | None = None,
    ) -> None:
        """One session: an `identify` call if a mail is given, and a `track` call per step."""
        rng = self.rng
        calls: list[Row] = [{"type": "track", "event": event, "properties": row} for event, row in steps]
        if email:
            traits = {"email": email, "lang": rng.choice(("fr", "fr", "en"))}
            calls.insert(0, {"type": "identify", "traits": traits})
        context = {
            "device": {"type": rng.choice(("mobile", "desktop"))},
            "campaign": {"source": rng.choice(("newsletter", "search", "direct"))},
        }
        for call in calls:
            start += timedelta(seconds=rng.randint(5, 60))
            key = f"m{len(self.events[1]) + len(self.events[2]):07d}"
            self.events[self.day].append(
                {
                    "message_id": key,
                    "type": call["type"],
                    "event": call.get("event"),
                    "timestamp": start,
                    "received_at": _later(start, seconds=rng.randint(1, 5)),
                    "user_id": user_id,
                    "anonymous_id": device,
                    "properties": call.get("properties"),
                    "traits": call.get("traits"),
                    "context": context,
                }
            )
            if owner:
                self.owners["web", key] = owner

    def views(self) -> Steps:
        return [
            ("Product Viewed", {"sku": sku, "category": category, "price": price / 100})
            for sku, category, price in self.rng.sample(PRODUCTS, self.rng.choice((1, 2, 3)))
        ]

    def cart(self) -> Steps:
        seen = self.views()[-1:]
        return [*seen, ("Product Added", {**seen[0][1], "quantity": self.rng.choice((1, 1, 2, 3))})]

    def order(self, person: Person, when: datetime) -> None:
        """An order and its lines: on the web also a visit; in the store a card or a mail names the buyer."""
        rng, key, total = self.rng, f"O{len(self.orders[1]) + len(self.orders[2]) + 1:06d}", 0
        for line_no, (sku, _, price) in enumerate(rng.sample(PRODUCTS, rng.choice((1, 1, 2, 3, 4))), 1):
            quantity = rng.choice((1, 1, 1, 2, 4))
            total += price * quantity
            self.order_lines[self.day].append(
                {
                    "order_id": key,
                    "line_no": line_no,
                    "sku": sku,
                    "quantity": quantity,
                    "unit_price": _money(price),
                    "line_total": _money(price * quantity),
                }
            )
        web = person.user_id is not None and rng.random() < 0.75
        self.orders[self.day].append(
            {
                "order_id": key,
                "user_id": person.user_id if web else None,
                "loyalty_id": person.loyalty_id,
                "email": None if web or person.loyalty_id else person.emails[0],
                "channel": "web" if web else "store",
                "status": rng.choices(("paid", "refunded", "cancelled", "open"), weights=(92, 4, 2, 2))[0],
                "amount": _money(total),
                "currency": "EUR",
                "ordered_at": when,
                "loaded_at": _later(when, minutes=30),
            }
        )
        self.owners["orders", key] = person.owner("account" if web else "crm")
        if web:
            checkout: Row = {"order_id": key}
            bought: Row = {"order_id": key, "total": total / 100, "currency": "EUR"}
            steps = [*self.cart(), ("Checkout Started", checkout), ("Order Completed", bought)]
            start, owner = _later(when, minutes=-4), person.owner("account")
            self.visit(owner, person.devices[0], person.user_id, start, steps)

    def moment(self, days_before: int) -> datetime:
        """Some second between 7:00 and 21:00 UTC; 0 is the last day of day 1's data, -1 the day after."""
        day = END_OF_DAY_1 - timedelta(days=1 + days_before)
        return datetime.combine(day, time(7)) + timedelta(seconds=self.rng.randrange(14 * 3600))

    def spell_phone(self, digits: str | None) -> str | None:
        if digits is None:
            return self.rng.choice((None, None, "0000000000"))
        pairs = " ".join(("0" + digits)[place : place + 2] for place in range(0, 10, 2))
        dots = pairs.replace(" ", ".")
        return self.rng.choice((pairs, dots, "0" + digits, "+33" + digits, "0033 " + digits))


def _home(rng: random.Random, number: int) -> tuple[str, ...]:
    return (f"{number} {rng.choice(STREETS)}", *rng.choice(CITIES))  # nobody shares a number by chance


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _ascii(name: str) -> str:
    return name.lower().translate(str.maketrans("éèëïç", "eeeic", "'"))


def _phone(number: int) -> str | None:
    """Nine digits of a number that belongs to nobody; there are 60,000 of them."""
    return f"{PHONE_RANGES[number % 6]}{number // 6:04d}" if number < 60_000 else None


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _later(moment: object, **by: int) -> datetime:
    assert isinstance(moment, datetime)
    return moment + timedelta(**by)


def _text(value: object, shift: timedelta) -> object:
    if isinstance(value, datetime):
        return (value + shift).isoformat() + "Z"
    return (value + shift).isoformat() if isinstance(value, date) else value


def _write_csv(path: Path, rows: Iterable[Mapping[str, object]], shift: timedelta) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, row in enumerate(rows):
            if number == 0:
                writer.writerow(row)
            writer.writerow([_text(value, shift) for value in row.values()])


def _write_jsonl(path: Path, rows: Iterable[Row], shift: timedelta) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in rows:
            line = {column: _text(value, shift) for column, value in row.items()}
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the data of the example shop.")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder for the files (default: data)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--day", type=int, choices=(1, 2), default=1)
    parser.add_argument("--end", help="YYYY-MM-DD or today: move all dates; the last day is the one before")
    given = parser.parse_args()
    today = datetime.now(UTC).date()
    end = today if given.end == "today" else date.fromisoformat(given.end) if given.end else None
    write(given.out, seed=given.seed, people=given.people, day=given.day, end=end)


if __name__ == "__main__":
    main()
