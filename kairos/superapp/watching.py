"""Content: clips on the way, the evening's series and films, what is liked, saved, searched, and the plan."""

from datetime import date

from kairos.superapp import world
from kairos.superapp.asking import ask
from kairos.superapp.diary import HOUR, MINUTE, SECOND, Diary
from kairos.superapp.person import Person


def watch(person: Person, diary: Diary, number: int, day: date, start: int) -> None:
    """A day of watching; `number` counts the days, `start` is its midnight (ms)."""
    rng, weekend = person.rng, day.weekday() >= 5
    if number == person.watch_from:
        at = diary.link(person, "viewer", "viewer_linked", start + rng.uniform(9, 19) * HOUR)
        _view(person, diary, "short", person.genres[0], at)
        return
    _plan(person, diary, start + rng.uniform(10, 22) * HOUR)
    if person.chance(0.35 * person.energy):
        _clips(person, diary, start + rng.uniform(7.2, 9) * HOUR)
    if person.chance(0.25):
        _view(person, diary, "live", "news", start + rng.uniform(19.8, 20.2) * HOUR, 900)
    if "sport" in person.genres and weekend and person.chance(0.6):
        _view(person, diary, "live", "sport", start + 15.5 * HOUR, rng.uniform(2_000, 7_200))
    if person.chance(min(0.9, (0.65 if weekend else 0.4) * person.energy)):
        _evening(person, diary, start + rng.uniform(19.5, 21.5) * HOUR, weekend)


def _clips(person: Person, diary: Diary, at: float) -> None:
    restless = person.chance(0.12)
    for _ in range(person.rng.randint(3, 5) if restless else person.rng.randint(1, 4)):
        seconds = person.rng.uniform(8, 50) if restless else person.rng.uniform(40, 240)
        at = _view(person, diary, "short", _genre(person), at, seconds, finished=not restless)


def _evening(person: Person, diary: Diary, at: float, weekend: bool) -> None:
    rng = person.rng
    if person.chance(0.12):
        found = 0 if person.chance(0.35) else rng.randint(1, 30)
        genre = _genre(person)
        diary.note(person, "content_searched", at, genre=genre, results=found)
        if not found and person.chance(0.6):
            return
        at += rng.uniform(30, 120) * SECOND
    if person.chance(0.10):
        genre = _genre(person)
        diary.note(person, "content_saved", at, title=_title(person, genre), genre=genre)
    if person.chance(0.3):
        finished = person.chance(0.6)
        seconds = rng.uniform(4_800, 7_800) if finished else rng.uniform(300, 3_000)
        _view(person, diary, "film", _genre(person), at, seconds, finished=finished)
        return
    genre = _genre(person)
    for _ in range(rng.randint(4, 6) if person.chance(0.15 if weekend else 0.05) else rng.randint(1, 3)):
        finished = person.chance(0.85)
        seconds = rng.uniform(2_200, 3_000) if finished else rng.uniform(60, 1_500)
        at = _view(person, diary, "episode", genre, at, seconds, finished=finished)
    if person.chance(0.004):
        ask(person, diary, "content", at + 5 * MINUTE)


def _view(
    person: Person,
    diary: Diary,
    kind: str,
    genre: str,
    at: float,
    seconds: float = 60.0,
    *,
    finished: bool = True,
) -> float:
    """Watch a title from `at` (ms) on; when the next one may begin."""
    rng = person.rng
    title = _title(person, genre)
    ended = at + seconds * SECOND
    device = "phone" if kind == "short" else rng.choice(("tv", "tv", "tablet", "phone"))
    told = {"title": title, "genre": genre, "kind": kind, "finished": finished, "device": device}
    diary.note(person, "content_viewed", ended, seconds=int(seconds), **told)
    if finished and person.chance(0.18 if genre in person.genres else 0.05):
        diary.note(person, "content_liked", ended + rng.uniform(5, 300) * SECOND, title=title, genre=genre)
    return ended + rng.uniform(10, 60) * SECOND


def _genre(person: Person) -> str:
    return person.rng.choice(person.genres) if person.chance(0.85) else person.rng.choice(world.GENRES)


def _title(person: Person, genre: str) -> str:
    """One that everybody watches, or one of the many."""
    number = 1 + int(world.TITLES_A_GENRE * person.rng.random() ** 2)
    return f"{genre}-{number:02d}"


def _plan(person: Person, diary: Diary, at: float) -> None:
    if person.plan == "free":
        change = "premium" if person.chance(0.004) else "plus" if person.chance(0.012) else ""
    else:
        change = "free" if person.chance(0.008) else ""
    if change and "viewer" in person.linked:
        told = {"plan": change, "before": person.plan, "price": world.PLANS[change]}
        person.plan = change
        diary.note(person, "plan_changed", at, **told)
