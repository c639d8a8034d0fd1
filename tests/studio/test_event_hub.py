"""The hub: events reach every page, also one that comes later, and end when the server does."""

from __future__ import annotations

import asyncio
import json
import threading

from headstart.studio.event_hub import MOST_PAGES, EventHub


def test_events_from_any_thread_reach_every_page_and_the_last_result_those_that_come_later() -> None:
    async def run() -> tuple[list[str], list[str]]:
        hub = EventHub()
        hub.publish("learned", {"images": 1}, keep=True)
        hub.publish("learned", {"images": 2}, keep=True)
        hub.publish("notice", {"text": "gone"})
        first, second = hub.stream(), hub.stream()
        found: tuple[list[str], list[str]] = ([], [])
        for stream, texts in zip((first, second), found, strict=True):
            texts += [await anext(stream), await anext(stream)]
        thread = threading.Thread(target=hub.publish, args=("notice", {"text": "<b>"}))
        thread.start()
        for stream, texts in zip((first, second), found, strict=True):
            texts.append(await anext(stream))
        thread.join()
        assert hub.pages == 2
        await first.aclose()
        assert hub.pages == 1
        return found

    for _, learned, notice in asyncio.run(run()):
        assert learned == 'event: learned\ndata: {"images": 2}\n\n'
        assert json.loads(notice.split("data: ")[1]) == {"text": "<b>"}


def test_streams_end_when_the_server_stops_and_there_are_at_most_so_many() -> None:
    async def run() -> None:
        hub = EventHub()
        streams = [hub.stream() for _ in range(MOST_PAGES)]
        for stream in streams:
            await anext(stream)
        assert [text async for text in hub.stream()] == []
        hub.close()
        for stream in streams:
            assert len([text async for text in stream]) <= 1  # the word that it closes

    asyncio.run(run())


def test_a_page_that_does_not_read_costs_bounded_memory() -> None:
    async def run() -> list[str]:
        hub = EventHub()
        stream = hub.stream()
        await anext(stream)
        for number in range(2000):
            hub.publish("progress", {"done": number})
        await asyncio.sleep(0.05)
        hub.close()
        return [text async for text in stream]

    assert len(asyncio.run(run())) <= 501
