"""The rate of an account, against a clock that does not run by itself."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest

from cdp.destination.description import Window
from cdp.destination.rate import MAX_WAIT, WAIT_HEADERS, Bucket, exhausted, wait_told

NOW = 1_780_000_000.0


class Clock:
    """Time that passes only while everybody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, woken))
        await woken

    async def run(self, until: float) -> None:
        """Let time pass, waking sleepers in their order."""
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            due = sorted((at, number) for number, (at, _) in enumerate(self._sleepers) if at <= until)
            if not due:
                self.now = until
                return
            at, number = due[0]
            self.now = max(self.now, at)
            self._sleepers.pop(number)[1].set_result(None)


def times(*windows: Window, requests: int, share: float = 1.0, seconds: float = 1000) -> list[float]:
    """When so many waiting requests are let through, from the start."""

    async def main() -> list[float]:
        clock = Clock()
        bucket = Bucket(windows, share=share, clock=clock, sleep=clock.sleep)
        let_through: list[float] = []

        async def one() -> None:
            await bucket.acquire()
            let_through.append(clock.now - 100)

        tasks = [asyncio.create_task(one()) for _ in range(requests)]
        await clock.run(100 + seconds)
        await asyncio.gather(*tasks)
        return let_through

    return asyncio.run(main())


def test_no_window_no_waiting() -> None:
    assert times(requests=50) == [0.0] * 50


def test_a_window_never_lets_more_through_in_any_stretch_of_its_length() -> None:
    assert times(Window(requests=3, per=10), requests=7) == [0, 0, 0, 10, 10, 10, 20]


def test_the_narrowest_of_several_windows_decides() -> None:
    passed = times(Window(requests=2, per=1), Window(requests=5, per=60), requests=7)
    assert passed == [0, 0, 1, 1, 2, 60, 60]


def test_a_share_of_the_account_is_a_part_of_its_requests() -> None:
    assert times(Window(requests=4, per=10), requests=3, share=0.5) == [0, 0, 10]


def test_a_share_below_one_request_stretches_the_window() -> None:
    assert times(Window(requests=1, per=10), requests=2, share=0.25) == [0, 40]


def test_a_pause_holds_all_workers_also_those_that_already_wait() -> None:
    async def main() -> list[float]:
        clock = Clock()
        bucket = Bucket([Window(requests=1, per=10)], clock=clock, sleep=clock.sleep)
        let_through: list[float] = []

        async def one() -> None:
            while paused := await bucket.acquire():
                await clock.sleep(paused)
            let_through.append(clock.now - 100)

        tasks = [asyncio.create_task(one()) for _ in range(3)]
        await clock.run(105)
        bucket.pause(30)
        await clock.run(400)
        await asyncio.gather(*tasks)
        return let_through

    first, second, third = asyncio.run(main())
    assert first == 0
    assert second >= 35
    assert third >= second + 10


def test_a_long_pause_is_told_at_once_a_short_one_is_slept() -> None:
    async def main() -> tuple[float, float]:
        clock = Clock()
        bucket = Bucket(clock=clock, sleep=clock.sleep)
        bucket.pause(60)
        told = await bucket.acquire()
        await clock.run(159.5)
        task = asyncio.create_task(bucket.acquire())
        await clock.run(170)
        return told, await task

    assert asyncio.run(main()) == (60, 0)


def test_a_pause_that_nobody_timed_grows_until_the_account_answers_again() -> None:
    bucket = Bucket()
    assert [bucket.pause(None) for _ in range(4)] == [0.25, 0.5, 1.0, 2.0]
    bucket.served()
    assert bucket.pause(None) == 0.25


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": formatdate(NOW + 20, usegmt=True)}, 20),
        ({"retry-after": formatdate(NOW - 20, usegmt=True)}, 0),
        ({"retry-after": "1000000000"}, MAX_WAIT),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
        ({"x-ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-reset": str(int(NOW) + 12)}, 12),
        ({"x-ratelimit-reset": str(int(NOW + 12) * 1000)}, 12),
        ({"x-ratelimit-reset": str(int(NOW) - 12)}, None),
        ({"retry-after": "-1", "x-ratelimit-reset": "3"}, 3),
    ],
)
def test_the_time_to_wait_is_read_in_every_dialect(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_told(headers, WAIT_HEADERS, now=NOW) == seconds


def test_dates_are_measured_against_the_answers_own_clock() -> None:
    headers = {"date": formatdate(NOW, usegmt=True), "retry-after": formatdate(NOW + 30, usegmt=True)}
    assert wait_told(headers) == 30


def test_an_account_says_when_its_window_is_used_up() -> None:
    assert exhausted({"x-ratelimit-remaining": "0"})
    assert not exhausted({"x-ratelimit-remaining": "12"})
