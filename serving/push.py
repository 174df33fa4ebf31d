"""The push door: a fired trigger in, a push command out, never two for one trigger.

A trigger's instance is the request id of its decision and names its command, so the same trigger can only
ever make the same command. What keeps it from being written twice is written down in this order: the
command to the bus, then `{NNN}push:<instance>` and the cursor to Redis. Who dies in between finds the command
at the tail of `push-commands` when it starts again. One process writes at a time: it holds a lease.
"""

import asyncio
import logging
import secrets
import threading
from contextlib import suppress
from typing import Any, Final

import msgspec
import orjson

from events.bus import BusUnavailable, Message, PositionLost, Reader, Record
from events.codec import BadEvent, parse_time, render_time
from events.counters import counters_key
from events.faults import Fault, PlaybookRefused, did_you_mean
from events.setup import Setup
from events.topics import PUSH_COMMANDS
from serving.backroom import Backroom, settle_down
from serving.decider import NotKnown
from serving.messages import DecisionAnswer, DecisionRequest
from serving.problems import Problem
from serving.push_place import Fired, Place, pushed_key, read_trigger
from serving.redis_line import Command, RedisAway

PLACEMENT: Final = "push"
CURSOR: Final = "kairos:push:cursor"
LEASE: Final = "kairos:push:lease"
BATCH: Final = 100
WAIT_MS: Final = 200
TOGETHER: Final = 16
PUSHED_KEPT_S: Final = 30 * 24 * 3600
FRESH_MS: Final = 24 * 3600 * 1000
EXPIRES_MS: Final = 24 * 3600 * 1000
LEASE_MS: Final = 4_000
RENEW_S: Final = 1.0
PAUSE_S: Final = 0.5
PATIENCE_S: Final = 3.0

# Takes a lease that is free or ours, and lengthens it; 1 when it is ours.
_HOLD: Final = b"""
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_LET_GO: Final = b"if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"

log = logging.getLogger("kairos.push")
_answer = msgspec.json.Decoder(DecisionAnswer)


class Lost(Exception):
    """Another process holds the lease: it writes, we wait."""


class Push:
    """Turns triggers into commands, a partition at a time in order; fails closed.

    An error in deciding, a state that stays behind its trigger or never comes, or a trigger older than a day
    means no push, and a counter moves. Redis or the bus away means waiting: nothing is
    skipped.
    """

    def __init__(self, room: Backroom, stop: threading.Event) -> None:
        self._room, self._stop = room, stop
        self._token = secrets.token_hex(8)
        self._held_until = 0.0
        self._counts: dict[str, int] = {}

    async def run(self) -> None:
        """Work until `stop`. Errors: whatever is neither Redis nor the bus being away."""
        flat = await self._counted()
        self._counts = {n.decode(): int(v) for n, v in zip(flat[::2], flat[1::2], strict=True)}
        async with asyncio.TaskGroup() as group:
            for partition in range(self._room.setup.partitions):
                group.create_task(self._partition(partition))
        with suppress(RedisAway):  # the lease then runs out by itself
            await self._room.line.ask(("EVAL", _LET_GO, 1, LEASE, self._token))

    async def _counted(self) -> list[bytes]:
        """What was counted before, once Redis says it."""
        while True:
            try:
                (flat,) = await self._room.line.ask(("HGETALL", counters_key("push")))
                return list(flat)
            except RedisAway as error:
                log.warning("pushes wait: %s", error)
                if self._stop.is_set():
                    return []
                await asyncio.sleep(PAUSE_S)

    async def _partition(self, partition: int) -> None:
        while not self._stop.is_set():
            reader: Reader | None = None
            try:
                await self._hold()
                place = Place(self._room.bus, partition)
                await self._recover(place)
                reader = await asyncio.to_thread(place.open)
                while not self._stop.is_set():
                    records = await asyncio.to_thread(reader.read, BATCH, WAIT_MS)
                    await self._hold()
                    if records:
                        await self._batch(place, records)
            except Lost:
                log.info("another push process is at work; waiting for it to end")
                await asyncio.sleep(PAUSE_S)
            except (RedisAway, BusUnavailable, PositionLost) as error:
                log.warning("pushes wait: %s", error)
                await asyncio.sleep(PAUSE_S)
            finally:
                if reader is not None:
                    await asyncio.to_thread(reader.close)

    async def _hold(self) -> None:
        """Make sure that the lease is ours for at least another second or two. Errors: `Lost`."""
        now = asyncio.get_running_loop().time()
        if now < self._held_until - (LEASE_MS / 1000 - RENEW_S):
            return
        (ours,) = await self._room.line.ask(("EVAL", _HOLD, 1, LEASE, self._token, LEASE_MS))
        if not ours:
            raise Lost
        self._held_until = now + LEASE_MS / 1000

    async def _recover(self, place: Place) -> None:
        """Read the saved place, and mark the triggers whose commands are on the bus behind it."""
        (saved,) = await self._room.line.ask(("HGET", CURSOR, place.partition))
        if saved is not None:
            place.triggers, place.commands = orjson.loads(saved)
        commands = await asyncio.to_thread(place.scan)
        if commands:
            log.info("partition %d: %d commands stand behind our cursor", place.partition, len(commands))
            await self._room.line.ask(*[_mark(command) for command in commands], deadline_s=10)

    async def _batch(self, place: Place, records: list[Record]) -> None:
        fired: dict[str, Fired] = {}
        counts: dict[str, int] = {"triggers": len(records)}

        def count(what: str) -> None:
            counts[what] = counts.get(what, 0) + 1

        for record in records:
            try:
                one = read_trigger(record.value)
            except BadEvent as bad:
                log.warning("triggers %d/%d cannot be read: %s", record.partition, record.position, bad)
                count("unreadable")
                continue
            if one is None:
                count("superseded")
            elif one.instance in fired:
                count("redelivered")
            else:
                fired[one.instance] = one
        known = await self._room.line.ask(
            ("PING",), *[("GET", pushed_key(one.customer, one.instance)) for one in fired.values()]
        )
        for one, before in zip(list(fired.values()), known[1:], strict=True):
            if before is not None:
                count("redelivered")
                del fired[one.instance]
        commands: list[dict[str, Any]] = []
        waiting = list(fired.values())
        for start in range(0, len(waiting), TOGETHER):
            some = waiting[start : start + TOGETHER]
            for command, fate in await asyncio.gather(*[self._decide(one) for one in some]):
                count(fate)
                if command is not None:
                    commands.append(command)
        await self._hold()
        await self._room.publisher.publish(
            [
                Message(PUSH_COMMANDS, place.partition, command["customer"].encode(), orjson.dumps(command))
                for command in commands
            ]
        )
        await self._written(place, records[-1].position, commands, counts)

    async def _decide(self, fired: Fired) -> tuple[dict[str, Any] | None, str]:
        room = self._room
        if room.setup.clock == "wall" and room.now() * 1000 - fired.time > FRESH_MS:
            return None, "stale"
        try:
            if not await self._folded(fired):
                return None, "behind"
            decided = await room.decider.decide(
                DecisionRequest(customer=fired.customer, placement=PLACEMENT, request_id=fired.instance),
                closed=True,
            )
            answer = _answer.decode(decided.answer)
        except RedisAway:
            raise
        except NotKnown:
            return None, "unknown"
        except Problem as problem:
            log.warning("no push for %s: %s", fired.instance, problem.detail)
            return None, "refused"
        except Exception:
            log.exception("no push for %s", fired.instance)
            return None, "failed"
        if not answer.offers:
            return None, "silent"
        best = answer.offers[0]
        command = {
            "id": fired.instance,
            "trigger": fired.trigger,
            "instance": fired.instance,
            "customer": fired.customer,
            "offer": best.offer,
            "treatment": best.treatment,
            "decision_id": answer.decision_id,
            "at": answer.at,
            "expires": render_time(parse_time(answer.at) + EXPIRES_MS),
        }
        return command, "commands"

    async def _folded(self, fired: Fired) -> bool:
        """Wait a moment for the state to hold what fired the trigger, which is published just before it.

        When it does not come the stream has died in between; it will publish the trigger again.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + PATIENCE_S
        while True:
            try:
                known = await self._room.decider.look(fired.customer, "trigger")
            except Problem:
                known = None  # no watermark yet
            # Whoever fired a trigger has a state; before a first one is written the clock alone says nothing.
            if known is not None and known.watermark is not None and known.state is not None:
                reached = max(known.state.newest, known.watermark)
                if reached >= fired.time:
                    return True
            if loop.time() >= ends or self._stop.is_set():
                return False
            await asyncio.sleep(0.01)

    async def _written(
        self,
        place: Place,
        position: int,
        commands: list[dict[str, Any]],
        counts: dict[str, int],
    ) -> None:
        place.triggers = position
        if commands:
            place.commands = await asyncio.to_thread(self._room.bus.last, PUSH_COMMANDS, place.partition)
        for name, by in counts.items():
            self._counts[name] = self._counts.get(name, 0) + by
        flat = [part for item in self._counts.items() for part in item]
        await self._room.line.ask(
            *[_mark(command) for command in commands],
            ("HSET", CURSOR, place.partition, orjson.dumps([place.triggers, place.commands])),
            ("HSET", counters_key("push"), *flat),
        )


def _mark(command: dict[str, Any]) -> Command:
    key = pushed_key(command["customer"], command["instance"])
    return ("SET", key, command["decision_id"], "EX", PUSHED_KEPT_S)


def run(setup: Setup, stop: threading.Event) -> None:
    """Push until `stop`; recorded decisions are relayed before it returns.

    Errors: `PlaybookRefused`; `BusUnavailable`, `StoreUnavailable` when they do not come.
    """

    async def both() -> None:
        room = Backroom(setup)
        try:
            await room.open()
            settle_down()
            known = room.catalogue.assortments
            if PLACEMENT not in known:
                hint = did_you_mean(PLACEMENT, known)
                fault = Fault("offers.toml", "[[placement]]", PLACEMENT, "none", hint)
                raise PlaybookRefused([fault])
            print("Kairos pushes: triggers in, push-commands out", flush=True)
            await Push(room, stop).run()
        finally:
            await room.close()

    asyncio.run(both())
