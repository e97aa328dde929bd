"""The Chinook record shop: names in its own spelling, a chain of four tables, playlists over a link table."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.data.making import Place, shared

SOURCES = """
sources:
  customers: {table: 'raw."Customer"', key: CustomerId}         # Postgres wants quotes around upper case
  invoices:
    table: 'raw."Invoice"'
    key: InvoiceId
    time: InvoiceDate
    ids: {customer: CustomerId}
  invoice_lines:
    table: 'raw."InvoiceLine"'
    key: InvoiceLineId
    ids: {track: TrackId}                 # a line sells a track: invoice_lines.track, track.invoice_lines
    relations:
      invoice: {to: invoices, by: {InvoiceId: InvoiceId}, inverse: lines}
  tracks: {table: 'raw."Track"', key: TrackId, relations: {genre: {to: genres, by: {GenreId: GenreId}}}}
  genres: {table: 'raw."Genre"', key: GenreId}
  playlists: {table: 'raw."Playlist"', key: PlaylistId}
  playlist_tracks: {table: 'raw."PlaylistTrack"', key: [PlaylistId, TrackId]}

entities:
  customer: {from: customers, key: CustomerId}
  track:
    from: tracks
    key: TrackId
    relations:
      playlists:                          # many to many: a track is on many playlists, a playlist has many tracks
        through:
          source: playlist_tracks
          left: {TrackId: TrackId}
          right: {to: playlist, PlaylistId: PlaylistId}
        inverse: tracks
  playlist: {from: playlists, key: PlaylistId}

traits:
  customer:
    ltv: {sum: invoices.Total}
    lines: {count: invoices.lines}
    genres: {distinct: invoices.lines.track.genre.Name}
    favourite: {most_frequent: invoices.lines.track.genre.Name}
    first_bought: {first: invoices.lines.track.Name}
    last_invoice: {max: invoices.InvoiceDate}
  playlist:
    length: {sum: tracks.Milliseconds}
    sold: {count: tracks.invoice_lines}
"""

AUDIENCES = """
audiences:
  good_customers: {of: customer, where: {ltv: {gt: 40}}}
  classical: {of: customer, where: {has: invoices.lines, where: {track.genre.Name: Classical}}}
  rockers:
    of: customer
    where: {has: invoices.lines, where: {track.genre.Name: Rock}, count: {gte: 20}}
  grunge_owners:                          # own a track of playlist 16 (names repeat: ask for the id)
    of: customer
    where:
      has: invoices.lines
      where: {has: track, where: {has: playlists, where: {playlist_id: "16"}}}
  grunge_owners_by_path: {of: customer, where: {has: invoices.lines.track.playlists, where: {playlist_id: "16"}}}
  heavy_invoice:                          # ten lines or more on one invoice, all of one genre
    of: customer
    where: {has: invoices, where: {has: lines, match: all, count: {gte: 9}, where: {track.genre.Name: Rock}}}
  bought_in_last_days: {of: customer, where: {has: invoices, during: last 30 days}}
  on_two_playlists:                       # tracks on playlists of different names
    of: track
    where: {has: playlists, distinct: {Name: {gte: 3}}}
  long_playlists: {of: playlist, where: {length: {gt: 3600000}}}
  long_playlists_by_rows: {of: playlist, where: {has: tracks, sum: {Milliseconds: {gt: 3600000}}}}
  empty_playlists: {of: playlist, where: {has: tracks, match: none}}
  never_sold: {of: track, where: {has: invoice_lines, count: 0}}
"""

TYPES = {"INTEGER": "bigint", "DATETIME": "timestamp", "NUMERIC(10,2)": "numeric(10, 2)"}
TABLES = ("Customer", "Invoice", "InvoiceLine", "Track", "Genre", "Playlist", "PlaylistTrack")
AS_OF = datetime(2025, 12, 31, tzinfo=UTC)


def chinook() -> Path:
    return shared("chinook", "Chinook_Sqlite.sqlite")


def asked(sql: str) -> list[tuple[Any, ...]]:
    """What SQLite says of the file."""
    with closing(sqlite3.connect(f"file:{chinook()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def ids(sql: str) -> set[str]:
    return {str(value) for (value,) in asked(sql)}


@pytest.fixture
def shop(place: Place) -> Place:
    """The shop's tables under their own names, and its project, built."""
    for table in TABLES:
        columns = {row[1]: TYPES.get(row[2], "text") for row in asked(f"PRAGMA table_info({table})")}
        place.load(table, columns, asked(f"SELECT * FROM {table}"))
    place.project(sources=SOURCES, audiences=AUDIENCES)
    place.freeze()
    place.build(AS_OF)
    return place


def test_the_published_answers_come_out(shop: Place) -> None:
    assert len(shop.members("good_customers")) == 14
    assert len(shop.members("classical")) == 14
    assert len(shop.members("rockers")) == 8
    assert len(shop.members("long_playlists")) == 12
    assert len(shop.members("empty_playlists")) == 4
    assert len(shop.members("grunge_owners")) == 5


LINES = "Invoice JOIN InvoiceLine USING (InvoiceId) JOIN Track USING (TrackId) JOIN Genre USING (GenreId)"
ON = "PlaylistTrack JOIN Track USING (TrackId)"


def test_members_are_those_that_sqlite_finds(shop: Place) -> None:
    assert shop.members("classical") == ids(f"SELECT CustomerId FROM {LINES} WHERE Genre.Name = 'Classical'")
    rock = f"SELECT CustomerId FROM {LINES} WHERE Genre.Name = 'Rock' GROUP BY CustomerId HAVING count(*) >= 20"
    assert shop.members("rockers") == ids(rock)
    grunge = ids(f"SELECT CustomerId FROM {LINES} JOIN PlaylistTrack USING (TrackId) WHERE PlaylistId = 16")
    assert shop.members("grunge_owners") == shop.members("grunge_owners_by_path") == grunge
    whole = f"SELECT InvoiceId, CustomerId FROM {LINES} GROUP BY InvoiceId, CustomerId"
    whole += " HAVING count(*) >= 9 AND min(Genre.Name = 'Rock') = 1"
    assert shop.members("heavy_invoice") == {str(customer) for _, customer in asked(whole)}
    recent = "SELECT CustomerId FROM Invoice WHERE InvoiceDate >= '2025-12-01' AND InvoiceDate < '2025-12-31'"
    assert shop.members("bought_in_last_days") == ids(recent)
    names = "SELECT TrackId FROM PlaylistTrack JOIN Playlist USING (PlaylistId) GROUP BY TrackId"
    assert shop.members("on_two_playlists") == ids(f"{names} HAVING count(DISTINCT Name) >= 3")
    hour = f"SELECT PlaylistId FROM {ON} GROUP BY PlaylistId HAVING sum(Milliseconds) > 3600000"
    assert shop.members("long_playlists") == shop.members("long_playlists_by_rows") == ids(hour)
    empty = ids("SELECT PlaylistId FROM Playlist EXCEPT SELECT PlaylistId FROM PlaylistTrack")
    assert shop.members("empty_playlists") == empty
    assert shop.members("never_sold") == ids("SELECT TrackId FROM Track EXCEPT SELECT TrackId FROM InvoiceLine")


def test_traits_are_what_plain_python_makes_of_the_rows(shop: Place) -> None:
    bought: dict[str, list[Any]] = defaultdict(list)
    order = "ORDER BY InvoiceDate, CAST(TrackId AS TEXT)"  # ties in time go by the key of the row that the path ends at
    for customer, *line in asked(f"SELECT CustomerId, Genre.Name, Track.Name, InvoiceDate FROM {LINES} {order}"):
        bought[str(customer)].append(line)
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for customer, total in asked("SELECT CustomerId, printf('%.2f', Total) FROM Invoice"):
        totals[str(customer)] += Decimal(total)

    def favourite(lines: list[Any]) -> str:
        names = [genre for genre, *_ in lines]
        return str(min(set(names), key=lambda name: (-names.count(name), name)))

    expected = {
        customer: (
            totals[customer], len(lines), len({line[0] for line in lines}), favourite(lines), lines[0][1],
            datetime.fromisoformat(lines[-1][2]),
        )
        for customer, lines in bought.items()
    }  # fmt: skip
    columns = "ltv, lines, genres, favourite, first_bought, last_invoice"
    assert {row[0]: row[1:] for row in shop.rows(f"SELECT customer_id, {columns} FROM cdp.customer")} == expected


def test_a_playlist_adds_up_its_tracks_once_each(shop: Place) -> None:
    """Lengths along one path and sales along a longer one: neither multiplies the other."""
    lengths = dict(asked(f"SELECT PlaylistId, sum(Milliseconds) FROM {ON} GROUP BY PlaylistId"))
    sold = "PlaylistTrack JOIN InvoiceLine USING (TrackId)"
    sales = dict(asked(f"SELECT PlaylistId, count(*) FROM {sold} GROUP BY PlaylistId"))
    playlists = [playlist for (playlist,) in asked("SELECT PlaylistId FROM Playlist")]
    found = {row[0]: row[1:] for row in shop.rows("SELECT playlist_id, length, sold FROM cdp.playlist")}
    assert found == {str(key): (lengths.get(key, 0), sales.get(key, 0)) for key in playlists}
