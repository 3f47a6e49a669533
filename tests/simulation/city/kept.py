"""What was acknowledged is stored, once; what was not sent is not there."""

from __future__ import annotations

from collections import Counter

from cityloop_charging.protocols.tcec.domain import STATUSES
from cityloop_common.clock import instant, rfc3339
from tests.simulation.city.promises import Decision, Promises, Sent
from tests.simulation.city.tables import Tables
from tests.simulation.world import Broken

ACCEPTED, IGNORED = 0, 1
OFFICIAL = "decider = 'officer'"


class Kept:
    """The checks of promises, at rest."""

    def __init__(self, tables: Tables, promises: Promises) -> None:
        self._tables = tables
        self._promises = promises

    def check(self) -> None:
        """Raises Broken."""
        self._car_parks_and_stations()
        self._envelopes()
        self._decisions()
        self._statements()
        self._plans()
        self._loads()

    def _car_parks_and_stations(self) -> None:
        places = {
            (row[0], row[1]): tuple(row[2:])
            for row in self._tables.rows("SELECT place_id, version, access, state, total_bays FROM parking.place_version")
        }
        stations = {
            (row[0], row[1]): tuple(row[2:])
            for row in self._tables.rows("SELECT location_id, version, access, state FROM charging.location_version")
        }
        for version, said in self._promises.places.items():
            if places.get(version) != said:
                raise Broken(f"car park {version} was acknowledged as {said} and is {places.get(version)}")
        for version, told in self._promises.stations.items():
            if stations.get(version) != told:
                raise Broken(f"station {version} was acknowledged as {told} and is {stations.get(version)}")

    def _envelopes(self) -> None:
        """Each envelope that was answered Ret 0 is noted; each that is noted took effect once, and nothing else did."""
        noted: dict[str, int] = dict(self._tables.rows("SELECT sig, status FROM charging.tcec_seen"))
        if strange := set(noted) - set(self._promises.envelopes):
            raise Broken(f"envelopes that nobody sent: {sorted(strange)[:3]}")
        for sig, status in self._promises.taken.items():
            if noted.get(sig) != status:
                raise Broken(f"{self._promises.envelopes[sig]} was answered Status {status} and is noted as {noted.get(sig)}")
        taken = [(self._promises.envelopes[sig], status) for sig, status in sorted(noted.items())]
        self._once_in_the_journal([sent for sent, status in taken if status == ACCEPTED])
        self._once_put_aside([sent for sent, status in taken if status == IGNORED])

    def _once_in_the_journal(self, sent: list[Sent]) -> None:
        """A report is a row of the journal or one more in the contact: no sender says the same of a connector and instant twice.

        Rows without the ParkStatus that every sender here tells are affirmed ones: the service's own, after a late report.
        """
        said = Counter((connector, rfc3339(one.at), one.seq, STATUSES[number].value) for one in sent for connector, number in one.statuses)
        rows = Counter(
            (uid.rpartition("*")[2], rfc3339(instant(at)), seq, status)
            for uid, at, seq, status in self._tables.rows(
                "SELECT evse_uid, happened_at, seq, status FROM charging.evse_status WHERE park_status IS NOT NULL"
            )
        )
        if strange := rows - said:
            raise Broken(f"journal rows that nobody reported, or twice: {sorted(strange.items())[:3]}")
        contact = {
            uid.rpartition("*")[2]: n
            for uid, n in self._tables.rows("SELECT evse_uid, sum(count) FROM charging.evse_contact GROUP BY evse_uid")
        }
        reports, entries = Counter(key[0] for key in said.elements()), Counter(key[0] for key in rows.elements())
        for connector in sorted({*reports, *contact}):
            if reports[connector] != entries[connector] + contact.get(connector, 0):
                raise Broken(
                    f"{connector}: {reports[connector]} reports were taken, {entries[connector]} are in the journal"
                    f" and {contact.get(connector, 0)} in the contact"
                )

    def _once_put_aside(self, sent: list[Sent]) -> None:
        """Reports with a stamp that cannot be believed are counted, once each."""
        said = Counter(connector for one in sent for connector, _ in one.statuses)
        rows = self._tables.rows("SELECT evse_uid, sum(count) FROM charging.evse_quarantine GROUP BY evse_uid")
        counted = Counter({uid.rpartition("*")[2]: times for uid, times in rows})
        if said != counted:
            raise Broken(f"put aside were {sorted(said.items())}, counted are {sorted(counted.items())}")

    def _decisions(self) -> None:
        """Each decision that an officer was told of is one row of the journal, and there are no others."""
        rows = Counter(
            Decision(location_id, place_id, state, instant(since))
            for location_id, place_id, state, since in self._tables.rows(
                f"SELECT location_id, place_id, state, happened_at FROM charging.link_version WHERE {OFFICIAL}"
            )
        )
        if rows != Counter(self._promises.decisions):
            lost, strange = self._promises.decisions - set(rows), set(rows) - self._promises.decisions
            raise Broken(
                f"decisions lost: {list(lost)[:2]}, never told: {list(strange)[:2]}, twice: {[d for d, n in rows.items() if n > 1]}"
            )

    def _statements(self) -> None:
        """One officer each, every word another than the one before: as many versions as words, the last one is the newest."""
        stocks = self._promises.stocks
        found = self._tables.rows("""SELECT s.day, s.version, r.vehicles FROM charging.vehicle_stock s
            LEFT JOIN charging.vehicle_registration r ON r.event_id = s.statement_id""")
        due = [(self._promises.stocks_on.isoformat(), len(stocks), stocks[-1])] if stocks and self._promises.stocks_on else []
        if [(str(day), version, vehicles) for day, version, vehicles in found] != due:
            raise Broken(f"registered vehicles are {found}, stated was {due}")
        estimates = {
            (district, day): (version, mass_kg)
            for district, day, version, mass_kg in self._tables.rows(
                "SELECT district, on_day, max(version), mass_kg FROM waste.generation_estimate GROUP BY district, on_day"
            )
        }
        said = {
            (district, day.isoformat()): (len(words), words[-1]) for (district, day), words in self._promises.estimates.items() if words
        }
        if estimates != said:
            raise Broken(f"estimates are {estimates}, said was {said}")

    def _plans(self) -> None:
        plans = {row[0] for row in self._tables.rows("SELECT id FROM waste.plan")}
        if plans != set(self._promises.plans.values()):
            raise Broken(f"plans are {sorted(plans)}, asked for were {sorted(self._promises.plans.values())}")
        rows = self._tables.rows("SELECT plan_id, change, version FROM waste.plan_version")
        told = {(plan_id, version) for plan_id, change, version in rows if change == "published"}
        if lost := self._promises.publications - told:
            raise Broken(f"publications that were acknowledged and are not there: {sorted(lost)[:3]}")
        times = Counter((plan_id, change) for plan_id, change, _ in rows)
        if lost_again := {plan_id for plan_id in self._promises.withdrawals if not times[plan_id, "withdrawn"]}:
            raise Broken(f"withdrawals that were acknowledged and are not there: {sorted(lost_again)[:3]}")
        if twice := {key: n for key, n in times.items() if n > self._promises.wishes[key]}:
            raise Broken(f"published or withdrawn more often than anybody wished: {twice}")

    def _loads(self) -> None:
        rows = {row[0]: tuple(row[1:]) for row in self._tables.rows("SELECT id, ticket_no, gross_kg, tare_kg FROM waste.load")}
        for load_id, said in self._promises.loads.items():
            if rows.get(load_id) != said:
                raise Broken(f"load {load_id} was acknowledged as {said} and is {rows.get(load_id)}")
        taken_back = {row[0] for row in self._tables.rows("SELECT id FROM waste.load WHERE void_reason IS NOT NULL")}
        if lost := self._promises.taken_back - taken_back:
            raise Broken(f"loads that were acknowledged to be taken back, and count: {sorted(lost)[:3]}")
        tickets = {(site_id, number) for site_id, number in self._tables.rows("SELECT site_id, ticket_no FROM waste.ticket")}
        if strange := tickets - self._promises.tickets:
            raise Broken(f"tickets that nobody sent: {sorted(strange)[:3]}")
