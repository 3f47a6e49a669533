"""The link between a station and the car park that it stands in: how it is proposed and decided, and the bays it serves."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from cityloop_charging.registry.domain import LONGEST_BAY_NO
from cityloop_common import errors
from cityloop_common.geo import Position, distance_m

WITHIN_M = 80
"""A station farther from a car park is never proposed for it."""
CLAIM_WITHIN_M = 500
"""A station farther from a known car park cannot be claimed to stand in it."""
MOST_BAY_NOS = 1_000
PPM = 1_000_000
WEIGHTS = (Fraction(50, 100), Fraction(35, 100), Fraction(15, 100))  # distance, name, count
_PLACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
# What every station and car park is called: it says nothing of which one it is.
_GENERIC = re.compile(
    r"停车场|停车楼|停车|地下车库|车库|路侧泊位|泊位|充电站|充电桩|充电|公共|虚构|[\W_]+|"
    r"\b(?:car ?park|parking|garage|deck|kerbside|charging|station|public|invented|the)\b"
)


class BaysError(errors.CityLoopError):
    """Something about links that the caller can understand; each is mixed with the shared class of its status::

    BaysError
    ├── UnknownLink 404     no such proposal, or none confirmed with this car park
    ├── LinkDecided 409     the station is confirmed to stand in a car park: withdraw that first
    ├── ClaimTooFar 422     the car park is too far away from the station
    └── InvalidClaim 422    an id or a bay number that cannot be one
    """


class UnknownLink(BaysError, errors.NotFound):
    slug, title = "link-unknown", "No such link"


class LinkDecided(BaysError, errors.Conflict):
    slug, title = "link-decided", "The station's car park is decided"


class ClaimTooFar(BaysError, errors.Invalid):
    slug, title = "claim-too-far", "The car park is too far away"


class InvalidClaim(BaysError, errors.Invalid):
    slug, title = "claim-invalid", "The claim is not valid"


class LinkState(StrEnum):
    """Where the link of a station stands. Only a confirmed one counts for the city's share."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Decider(StrEnum):
    """Who moved a link: the scoring, the station's operator, a person of the city, the command line, the sample."""

    SCORE = "score"
    OPERATOR = "charging_operator"
    OFFICER = "officer"
    CITY_ADMIN = "city_admin"
    COMMAND = "command"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class By:
    """Who moved a link: `subject` is a keyed hash of a person's subject, equal for the same person."""

    decider: Decider
    subject: str | None = None


BY_SCORE = By(Decider.SCORE)


@dataclass(frozen=True, slots=True)
class Place:
    """A car park as charging has heard of it; `sequence` is the version that its event told of. `in_city`: in the jurisdiction."""

    id: str
    name: str
    name_en: str | None
    position: Position
    access: str
    state: str
    kind: str
    district: str | None
    total_bays: int
    ev_bays: int
    sequence: int
    in_city: bool = True


@dataclass(frozen=True, slots=True)
class Station:
    """What the scoring looks at of a station; `evses` are those that are not removed."""

    location_id: str
    name: str
    name_en: str | None
    position: Position
    evses: int


@dataclass(frozen=True, slots=True)
class Link:
    """The newest word on which car park a station stands in."""

    location_id: str
    place_id: str
    state: LinkState
    by: By
    evidence: Mapping[str, object]
    happened_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A car park near a station, and how well the two fit: 0 to 1,000,000."""

    place_id: str
    score_ppm: int
    distance_m: int
    name_similarity_ppm: int
    count_plausibility_ppm: int

    def evidence(self) -> dict[str, object]:
        """What the score rests on, for the person who decides."""
        return {
            "score_ppm": self.score_ppm,
            "distance_m": self.distance_m,
            "name_similarity_ppm": self.name_similarity_ppm,
            "count_plausibility_ppm": self.count_plausibility_ppm,
        }


@dataclass(frozen=True, slots=True)
class ServingEvse:
    """An EVSE that counts: of a station confirmed to stand in the car park, with the number of the bay in front of it, if known."""

    location_id: str
    bay_no: str | None


def served_bays(evses: Iterable[ServingEvse], place_bays: int) -> int:
    """Number of bays of one car park that have a charger.

    A numbered bay counts once however many connectors or stations name it; each EVSE without a number serves one more; never
    more than the car park has. Bay numbers are the car park's own: two stations that name the same one share it.
    """
    numbers: set[str] = set()
    unnumbered = 0
    for each in evses:
        number = _bay_key(each.bay_no)
        if number is None:
            unnumbered += 1
        else:
            numbers.add(number)
    return max(0, min(place_bays, len(numbers) + unnumbered))


def candidates(station: Station, places: Iterable[Place], *, refused: Iterable[str] = ()) -> Sequence[Candidate]:
    """Car parks within 80 m of a station, the best fit first; those that a person has refused are left out."""
    out = set(refused)
    near = [(place, _metres(station, place)) for place in places if place.id not in out]
    scored = [_scored(station, place, metres) for place, metres in near if metres <= WITHIN_M]
    return sorted(scored, key=lambda each: (-each.score_ppm, each.distance_m, each.place_id))


def name_similarity(one: str, other: str) -> Fraction:
    """How much two names share, 0 to 1: pairs of characters (Dice), without the words that every station has."""
    a, b = _pairs(one), _pairs(other)
    total = a.total() + b.total()
    return Fraction(2 * (a & b).total(), total) if total else Fraction(0)


def count_plausibility(evses: int, place: Place) -> Fraction:
    """How well a station's EVSEs fit a car park's bays, 0 to 1; its EV bays say more than all of its bays."""
    if not evses or not place.total_bays:
        return Fraction(0)
    if place.ev_bays:
        return Fraction(min(evses, place.ev_bays), max(evses, place.ev_bays))
    return Fraction(1, 2) if evses <= place.total_bays else Fraction(place.total_bays, 2 * evses)


def outranks(new: Candidate | None, known: Link | None) -> bool:
    """Whether the scoring may replace what is known: never a confirmed link or an operator's claim, and not by the same again."""
    if known is None or known.state in {LinkState.REJECTED, LinkState.WITHDRAWN}:
        return new is not None
    if known.state is LinkState.CONFIRMED or known.by.decider is not Decider.SCORE:
        return False
    return new is None or (new.place_id, new.evidence()) != (known.place_id, known.evidence)


def check_claim(place_id: str, bay_nos: Sequence[str]) -> None:
    """Raises InvalidClaim for an id or bay numbers that cannot be ones."""
    if not is_place_id(place_id):
        raise InvalidClaim("a car park's id has 1 to 64 letters, digits, dots, dashes and underscores")
    if len(bay_nos) > MOST_BAY_NOS or len(set(bay_nos)) < len(bay_nos):
        raise InvalidClaim(f"at most {MOST_BAY_NOS} bay numbers, each once")
    if not all(0 < len(each) <= LONGEST_BAY_NO and each.isprintable() and each.strip() for each in bay_nos):
        raise InvalidClaim(f"a bay number has 1 to {LONGEST_BAY_NO} printable characters")


def is_place_id(text: str) -> bool:
    """Whether a car park can have this id."""
    return _PLACE_ID.fullmatch(text) is not None


def _metres(station: Station, place: Place) -> int:
    return round(distance_m(station.position, place.position))


def _scored(station: Station, place: Place, metres: int) -> Candidate:
    near = Fraction(WITHIN_M - metres, WITHIN_M)
    named = name_similarity(station.name, place.name)
    if station.name_en and place.name_en:
        named = max(named, name_similarity(station.name_en, place.name_en))
    fits = count_plausibility(station.evses, place)
    score = sum((weight * part for weight, part in zip(WEIGHTS, (near, named, fits), strict=True)), start=Fraction(0))
    return Candidate(place.id, int(score * PPM), metres, int(named * PPM), int(fits * PPM))


def _pairs(name: str) -> Counter[str]:
    bare = _GENERIC.sub(" ", unicodedata.normalize("NFKC", name).casefold())
    pairs: Counter[str] = Counter()
    for word in bare.split():
        pairs.update([word] if len(word) == 1 else [word[i : i + 2] for i in range(len(word) - 1)])
    return pairs


def _bay_key(bay_no: str | None) -> str | None:
    """`Ａ－12`, ` a-12` and `A-12` are one bay."""
    if bay_no is None:
        return None
    return "".join(unicodedata.normalize("NFKC", bay_no).casefold().split()) or None
