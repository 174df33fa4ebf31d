"""Rounds are cut the same, whichever partition was read faster."""

import random

from events.envelope import Event
from stream.rounds import Round, Rounds


def test_every_interleaving_gives_the_same_rounds() -> None:
    logs: list[list[Event | int]] = [[], []]
    for time in range(1, 30):
        for partition, log in enumerate(logs):
            log += [
                Event("a", f"{partition}-{time}-{n}", time, "c", {})
                for n in range((time * 7 + partition) % 3)
            ]
            log.append(time)
            if time % 5 == 0 and partition == 1:
                log.append(time)  # a tick that a crash of intake repeated
    found: list[list[Round]] = []
    for seed in range(10):
        dice, rounds, given = random.Random(seed), Rounds(2), []
        at = [0, 0]
        while at != [len(log) for log in logs]:
            partition = dice.choice([n for n in (0, 1) if at[n] < len(logs[n])])
            for _ in range(dice.randrange(1, 30)):
                if at[partition] == len(logs[partition]):
                    break
                item = logs[partition][at[partition]]
                if isinstance(item, int):
                    rounds.tick(partition, at[partition], item)
                else:
                    rounds.event(partition, item)
                at[partition] += 1
            given += list(rounds.complete())
        found.append(given)
    assert len(found[0]) == 29
    assert all(each == found[0] for each in found)


def test_a_round_waits_for_the_slowest_partition() -> None:
    rounds = Rounds(2)
    for time in (1, 2, 3):
        rounds.tick(0, time, time)
    assert list(rounds.complete()) == []
    rounds.tick(1, 0, 1)
    assert [one.time for one in rounds.complete()] == [1]
