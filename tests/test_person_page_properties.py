"""Whatever is pressed, in whatever order, through the links of one person's two addresses."""

import secrets
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prefs import ledger
from prefs.address import Address, Channel
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.links import Action, Claim
from prefs.policy import ALL, Authority, Event, Kind, Message, Scope, Verdict, Voice, may_send
from prefs.web.pages.places import Place
from tests.conftest import Clock
from tests.test_leave_page import Page

SOME = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
TOPICS = ("product-news", "events", "trail-tips")
NOES = [Voice.PERSON, Voice.STOP, Voice.COMPLAINT, Voice.ERASURE, Voice.SENDER]
FOR_EVER = {"complained", "erased"}

which = st.integers(0, 1)
step = st.one_of(
    st.tuples(st.just("open"), which),
    # The ticks are those of the page that was opened last, less or more some.
    st.tuples(st.just("save"), which, st.sets(st.integers(0, 5), min_size=1, max_size=4)),
    st.tuples(
        st.just("form"),
        which,
        st.sampled_from(
            [
                {"leave": "all"},
                {"leave": "acme"},
                {"pause": "week", "pause_what": "all"},
                {"pause": "quarter", "pause_what": "acme"},
                {"resume": "all"},
                {"resume": "acme"},
                {"shown": "", "limits": "product-news:0", "most.product-news": "1"},
            ]
        ),
    ),
    st.tuples(st.just("undo"), which, st.integers(0, 3)),
    # Somebody tries an undo that the other address's page was given.
    st.tuples(st.just("steal"), which, st.integers(0, 3)),
    st.tuples(st.just("word"), which, st.sampled_from(NOES), st.sampled_from([None, *TOPICS])),
    st.tuples(st.just("yes"), which, st.sampled_from(TOPICS)),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 3_000, 9 * 24 * 3600])),
)


class Two:
    """Two addresses of one person, a page open for each, and the undos that each was offered."""

    def __init__(self, client: FlaskClient, opened: Installation, cast: Cast, clock: Clock) -> None:
        self.client, self.opened, self.tenant, self.clock = client, opened, cast.tenant, clock
        name = secrets.token_hex(6)
        self.both = [Address(Channel.EMAIL, f"{name}.{n}@example.org") for n in range(2)]
        self.subjects = [Subject.of(cast.tenant, address) for address in self.both]
        self.paths: list[str] = []
        with opened.database.writing() as connection:
            for subject in self.subjects:
                news = cast.tenant.topic("events").scope
                yes = Event(Kind.IN, clock.now, news, authority=Authority.PERSON)
                ledger.record(connection, cast.tenant.id, Said(subject, yes, person=name))
                claim = Claim(
                    Action.PREFERENCES,
                    cast.tenant.id,
                    Channel.EMAIL,
                    subject.digest,
                    ALL,
                    clock.now,
                )
                self.paths.append(f"/p/{opened.links.sign(claim)}")
        self.pages = [Page(client.get(path).text) for path in self.paths]
        self.undos: list[list[list[str]]] = [[], []]

    def decisions(self, number: int) -> dict[str, tuple[bool, str]]:
        subject = self.subjects[number]
        with self.opened.database.reading() as connection:
            found = ledger.known(connection, self.tenant.id, subject.digest)
        place = Place("", subject, found, True)
        topics = [self.tenant.topic(slug) for slug in TOPICS]
        decided = {topic.slug: self._decide(place, topic) for topic in topics}
        return {slug: (d.verdict is Verdict.ALLOW, d.reason) for slug, d in decided.items()}

    def _decide(self, place: Place, topic: Any) -> Any:
        message = Message(topic, place.subject.channel)
        return may_send(message, place.known.standing, self.clock.now)

    def post(self, number: int, form: dict[str, Any], status: int = 200) -> None:
        answer = self.client.post(self.paths[number], data=form)
        assert (answer.status_code, answer.mimetype) == (status, "text/html")
        if status == 200:
            self.pages[number] = page = Page(answer.text)
            if page.shows("Undo"):
                undo, _ = page.button("Undo")
                tokens = [value for name, value in undo["fields"] if name == "undo"]
                self.undos[number].append(tokens)

    def save(self, number: int, changed: set[int]) -> None:
        form = next(f for f in self.pages[number].forms if dict(f["fields"]).get("limits"))
        boxes = {box["value"]: box["on"] for box in form["boxes"]}
        for at in changed:
            if boxes:
                name = list(boxes)[at % len(boxes)]
                boxes[name] = not boxes[name]
        on = [name for name, ticked in boxes.items() if ticked]
        self.post(number, {**dict(form["fields"]), "on": on})

    def say(self, number: int, event: Event) -> None:
        with self.opened.database.writing() as connection:
            said = Said(self.subjects[number], event)
            ledger.record(connection, self.tenant.id, said)

    def act(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("open", number):
                self.pages[number] = Page(self.client.get(self.paths[number]).text)
            case ("save", number, changed):
                self.save(number, changed)
            case ("form", number, form):
                fields = [dict(form["fields"]) for form in self.pages[number].forms]
                saw = next(found["saw"] for found in fields if "saw" in found)
                self.post(number, {**form, "saw": saw})
            case ("undo", number, at) if self.undos[number]:
                late = at % len(self.undos[number])
                answer = self.client.post(
                    self.paths[number], data={"undo": self.undos[number][late]}
                )
                assert answer.status_code in (200, 404)
            case ("steal", number, at) if self.undos[1 - number]:
                tokens = self.undos[1 - number][at % len(self.undos[1 - number])]
                self.post(number, {"undo": tokens}, status=404)
            case ("word", number, voice, slug):
                wide = slug is None or voice in (Voice.COMPLAINT, Voice.ERASURE)
                scope: Scope = ALL if wide else self.tenant.topic(slug).scope
                self.say(number, Event(Kind.OUT, self.clock.now, scope, voice))
            case ("yes", number, slug):
                scope = self.tenant.topic(slug).scope
                yes = Event(Kind.IN, self.clock.now, scope, authority=Authority.PERSON, saw=10**6)
                self.say(number, yes)
            case ("wait", seconds):
                self.clock.forward(seconds=seconds)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@SOME
@given(steps=st.lists(step, min_size=3, max_size=10))
@example(steps=[("form", 0, {"leave": "all"}), ("save", 0, {0, 1, 2, 3})])
@example(steps=[("form", 1, {"leave": "all"}), ("open", 0), ("save", 0, {0, 1}), ("undo", 0, 0)])
@example(steps=[("word", 1, Voice.STOP, None), ("form", 0, {"leave": "all"}), ("undo", 0, 0)])
@example(steps=[("form", 1, {"leave": "all"}), ("form", 0, {"leave": "all"}), ("undo", 0, 0)])
def test_no_press_through_one_address_turns_anything_on_at_the_other_but_an_undo_of_its_own(
    client: FlaskClient,
    opened: Installation,
    cast: Cast,
    clock: Clock,
    steps: list[tuple[Any, ...]],
) -> None:
    two = Two(client, opened, cast, clock)
    for one in steps:
        before = [two.decisions(number) for number in range(2)]
        two.act(one)
        # What the time alone has ended was no press.
        if one[0] == "wait":
            continue
        after = [two.decisions(number) for number in range(2)]
        for number in range(2):
            for slug in TOPICS:
                was, why = before[number][slug]
                now, _ = after[number][slug]
                if not was and now:
                    assert why not in FOR_EVER, one
                    assert one[0] in ("undo", "yes") or one[1] == number, one
                    assert why != "replied_stop" or one[0] != "undo", one
    with opened.database.reading() as connection:
        assert list(ledger.replay(connection, cast.tenant.id)) == []
