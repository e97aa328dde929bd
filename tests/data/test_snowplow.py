"""Web events of Snowplow in two loads: whose an early session was is known only later."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.data.making import Place, csv_rows, shared

SOURCES = """
sources:
  events:
    table: raw.events
    read: {null_values: ["NULL"]}         # the loader wrote the word
    event: event                          # the column that names a row's event: this makes it a stream
    key: event_id
    time: collector_tstamp
    columns: {collector_tstamp: {type: timestamp}}
    ids:
      person: {user_id: user_id, domain_userid: domain_userid, network_userid: network_userid}
    relations:
      page: {to: pages, by: {event_id: root_id}}

  pages: {table: raw.pages, key: root_id}        # which page view an event belongs to

  sessions:                               # a SELECT of one's own; its table names are sources
    query: sessions.sql
    key: session_id
    time: started_at
    columns: {started_at: {type: timestamp}}
    ids:
      person: {domain_userid: domain_userid, network_userid: network_userid}

entities:
  person:
    identity:
      identifiers: [user_id: {limit: 1}, domain_userid: {}, network_userid: {}]
  visit: {from: sessions, key: session_id}

traits:
  person:
    page_views: {count: events, where: {event: page_view}}
    distinct_pages: {distinct: events.page.id}            # a ping belongs to the view before it
    visits: {count: visit}
audiences:
  viewers: {of: person, where: {did: page_view}}
  known_visits: {of: visit, where: {person.user_id: {exists: true}}}
"""

SESSIONS = """
SELECT domain_sessionid AS session_id, min(domain_userid) AS domain_userid, min(network_userid) AS network_userid,
  min(collector_tstamp) AS started_at
FROM events GROUP BY domain_sessionid
"""

FIRST = datetime(2018, 1, 1, 12, 0, 10, tzinfo=UTC)
SECOND = datetime(2018, 1, 1, 13, tzinfo=UTC)


def load(place: Place, suffix: str = "") -> None:
    """One of the two loads."""
    data = shared("dbtlabs_snowplow")
    place.load_csv(data / "event" / f"sp_event{suffix}.csv", "events")
    place.load_csv(data / "web_page" / f"sp_web_page{suffix}.csv", "pages")


@pytest.fixture
def web(place: Place) -> Place:
    """The site after its first load, built."""
    load(place)
    place.project(sources=SOURCES, sessions__sql=SESSIONS)
    place.freeze()
    place.build(FIRST)
    return place


def whose(place: Place) -> dict[str, tuple[str, str | None]]:
    """Session ► (the id of its person, the user id of that person)."""
    sql = "SELECT v.visit_id, v.person_id, p.user_id FROM cdp.visit v JOIN cdp.person p ON p.person_id = v.person_id"
    return {session: (person, user) for session, person, user in place.rows(sql)}


def test_the_first_load_knows_three_people_and_four_page_views(web: Place) -> None:
    assert web.rows("SELECT count(*), sum(page_views) FROM cdp.person") == [(3, 4)]
    assert {session: user for session, (_, user) in whose(web).items()} == {
        "user_1_session_1": "user_id_1",
        "user_2_session_1": "user_id_2",
        "user_3_session_1": None,  # nobody has said yet
    }
    assert web.members("known_visits") == {"user_1_session_1", "user_2_session_1"}


def test_the_second_load_tells_whose_the_earlier_sessions_were(web: Place) -> None:
    before, ids = whose(web), web.ids("person")
    load(web, "_update")
    web.build(SECOND)

    assert web.rows("SELECT count(*), sum(page_views), sum(distinct_pages) FROM cdp.person") == [(4, 7, 7)]
    after = whose(web)
    published = csv_rows(shared("dbtlabs_snowplow", "expected", "snowplow_sessions_expected.csv"))
    expected = {row["session_id"]: row for row in published}
    inferred = {session: row["inferred_user_id"] for session, row in expected.items()}
    devices = {session: row["user_snowplow_domain_id"] for session, row in expected.items()}
    assert {session: user or devices[session] for session, (_, user) in after.items()} == inferred
    assert after["user_3_session_1"] == after["user_3_session_2"] == (before["user_3_session_1"][0], "user_id_3")
    assert after["user_4_session_1"][1] is None
    assert len(web.members("viewers")) == 4
    assert web.members("known_visits") == set(expected) - {"user_4_session_1"}

    kept = web.ids("person")
    assert {identifier: kept[identifier] for identifier in ids} == ids
    came = {"user_id:user_id_3", "domain_userid:domain_userid_4", "network_userid:network_userid_4"}
    assert set(kept) - set(ids) == came
    changes = web.rows("SELECT kind, count(*) FROM cdp.person_changes GROUP BY kind")
    assert changes == [("new", 4)]


def test_stays_begin_when_a_build_first_finds_them(web: Place) -> None:
    load(web, "_update")
    web.build(SECOND)
    since: dict[str, datetime] = dict(web.rows("SELECT visit_id, entered_at FROM cdp.audience_known_visits"))
    first, second = (moment.replace(tzinfo=None) for moment in (FIRST, SECOND))
    assert since["user_1_session_1"] == since["user_2_session_1"] == first
    assert since["user_3_session_1"] == since["user_3_session_2"] == second  # never back-dated
