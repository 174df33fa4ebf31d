"""Support: a ticket, what is said in the chat, how long it takes, what is thought of it."""

from kairos.superapp.diary import HOUR, MINUTE, SECOND, Diary
from kairos.superapp.person import Person


def ask(person: Person, diary: Diary, reason: str, at: float) -> None:
    """The customer asks for help at `at` (ms), about payment, delivery, refund, account or content."""
    rng = person.rng
    at = diary.link(person, "phone", "caller_linked", at)
    ticket = f"t-{person.serial()}"
    channel = rng.choice(("chat", "chat", "call"))
    diary.note(person, "ticket_opened", at, ticket=ticket, reason=reason, channel=channel)
    waited, mood, now = 0.0, 0.0, at
    for _ in range(rng.randint(2, 5) if channel == "chat" else 0):
        wait = min(3_000.0, rng.lognormvariate(4.6, 1.0))
        now += wait * SECOND + rng.uniform(20, 120) * SECOND
        waited += wait
        mood += rng.uniform(-0.3, 0.5) + waited / 2_000
        word = "angry" if mood > 1.4 else "annoyed" if mood > 0.7 else "calm"
        diary.note(person, "chat_message", now, ticket=ticket, waited=int(wait), mood=word)
    if person.chance(0.04):
        return  # forgotten
    hours = min(120.0, rng.lognormvariate(1.0, 1.4))
    solved = max(at + hours * HOUR, now + 5 * MINUTE)
    took = round((solved - at) / HOUR, 2)
    diary.note(person, "ticket_solved", solved, ticket=ticket, reason=reason, hours=took)
    if person.chance(0.45):
        stars = max(1, min(5, round(5 - took / 24 - mood + rng.uniform(-0.5, 0.5))))
        diary.note(person, "support_rated", solved + rng.uniform(2, 300) * MINUTE, ticket=ticket, stars=stars)
