"""What must hold, as SQL over the three databases: each answers rows only when something is broken."""

from __future__ import annotations

from tests.simulation.city import rules


def _newest(journal: str, key: str, of: str, *more: str) -> str:
    """The id of the row that the journal's order says is the newest of an object."""
    order = ", ".join(f"j.{name} DESC" for name in ("happened_at", *more, "recorded_at", "id"))
    return f"(SELECT j.id FROM {journal} j WHERE j.{key} = {of} ORDER BY {order} LIMIT 1)"


SERVICES = ("parking", "charging", "waste")
ALWAYS = {
    **rules.questions(SERVICES),
    "what an EVSE does is not what its journal says last": f"""
        SELECT l.evse_uid, l.entry_id, l.status FROM charging.evse_live l LEFT JOIN charging.evse_status s ON s.id = l.entry_id
        WHERE l.version > 0 AND (s.status IS NOT l.status OR s.happened_at IS NOT l.happened_at
            OR l.entry_id IS NOT {_newest("charging.evse_status", "evse_uid", "l.evse_uid", "seq")})""",
    "a station does not stand where its link says": """
        SELECT l.id, l.place_id, k.place_id, k.state FROM charging.location l LEFT JOIN charging.link k ON k.location_id = l.id
        WHERE l.place_id IS NOT CASE k.state WHEN 'confirmed' THEN k.place_id END""",
    "a station's versions are not each in its journal once": """
        SELECT l.id, l.version, count(v.id), count(DISTINCT v.version), max(v.version)
        FROM charging.location l LEFT JOIN charging.location_version v ON v.location_id = l.id GROUP BY l.id
        HAVING count(v.id) <> l.version OR count(DISTINCT v.version) <> l.version OR max(v.version) <> l.version""",
    "charging knows a car park from the future": """
        SELECT m.id, m.sequence, p.version FROM charging.place m LEFT JOIN parking.place p ON p.id = m.id
        WHERE p.version IS NULL OR m.sequence > p.version""",
    "charging's journal of car parks says what parking's does not": """
        SELECT m.place_id, m.sequence, v.access, m.access, v.state, m.state, v.total_bays, m.total_bays FROM charging.place_version m
        LEFT JOIN parking.place_version v ON v.place_id = m.place_id AND v.version = m.sequence
        WHERE (v.access, v.state, v.kind, v.total_bays, v.event_id) IS NOT (m.access, m.state, m.kind, m.total_bays, m.event_id)""",
    "a car park's versions are not each in its journal once": """
        SELECT p.id, p.version, count(v.id) FROM parking.place p LEFT JOIN parking.place_version v ON v.place_id = p.id
        GROUP BY p.id HAVING count(v.id) <> p.version OR max(v.version) <> p.version""",
    "parking knows more of an EVSE than charging": """
        SELECT c.evse_uid, c.version, l.version FROM parking.charger c LEFT JOIN charging.evse_live l ON l.evse_uid = c.evse_uid
        WHERE l.version IS NULL OR c.version > l.version""",
    "something is closed for a plan that was taken back": """
        SELECT c.stream, c.on_day, c.place_id FROM parking.closure c JOIN parking.collection_plan p USING (stream, on_day)
        WHERE p.state = 'withdrawn'""",
    "parking follows a plan that waste never published": """
        SELECT p.stream, p.on_day, p.version FROM parking.collection_plan p
        LEFT JOIN waste.plan_version v ON v.stream = p.stream AND v.on_day = p.on_day AND v.version = p.version
        WHERE v.plan_id IS NOT p.plan_id OR v.change IS NOT p.state""",
    "a published plan is not the last word on its day": """
        SELECT p.stream, p.on_day, p.state, p.publication, v.plan_id, v.change, v.version FROM (
            SELECT stream, on_day, plan_id, change, max(version) AS version FROM waste.plan_version GROUP BY stream, on_day) v
        LEFT JOIN waste.plan p ON p.stream = v.stream AND p.on_day = v.on_day AND p.state = 'published'
        WHERE CASE v.change WHEN 'published' THEN p.id IS NOT v.plan_id OR p.publication IS NOT v.version ELSE p.id IS NOT NULL END""",
    "a plan is published that its journal does not know": """
        SELECT p.id FROM waste.plan p LEFT JOIN waste.plan_version v ON v.plan_id = p.id AND v.version = p.publication
        WHERE p.state = 'published' AND v.id IS NULL""",
    "a plan was told more or less often than its journal says": """
        SELECT p.id, p.told, count(v.id) FROM waste.plan p LEFT JOIN waste.plan_version v ON v.plan_id = p.id
        GROUP BY p.id HAVING count(v.id) <> p.told OR count(DISTINCT v.sequence) <> count(v.id)""",
    "the versions of a load are no line": """
        SELECT l.id, l.chain_id, l.version FROM waste.load l LEFT JOIN waste.load b ON b.id = l.corrects
        WHERE (l.version = 1 AND l.chain_id <> l.id)
            OR (l.version > 1 AND (b.chain_id IS NOT l.chain_id OR b.version IS NOT l.version - 1))""",
    "a ticket number of a site stands for two loads": """
        SELECT site_id, ticket_no, count(DISTINCT chain_id) FROM waste.load
        GROUP BY site_id, ticket_no HAVING count(DISTINCT chain_id) > 1""",
    "a load without its ticket": """
        SELECT l.id, t.chain_id FROM waste.load l LEFT JOIN waste.ticket t USING (site_id, ticket_no) WHERE t.chain_id IS NOT l.chain_id""",
    "one weighing counts twice": """
        SELECT l.site_id, l.truck_id, l.minute, l.gross_kg, count(*) FROM waste.load l
        WHERE l.void_reason IS NULL AND NOT EXISTS (SELECT 1 FROM waste.load n WHERE n.corrects = l.id)
        GROUP BY l.site_id, l.truck_id, l.minute, l.gross_kg HAVING count(*) > 1""",
    "the versions of an estimate are no line": """
        SELECT e.id, e.version FROM waste.generation_estimate e LEFT JOIN waste.generation_estimate b ON b.id = e.corrects
        WHERE e.version > 1 AND (b.district IS NOT e.district OR b.on_day IS NOT e.on_day OR b.version IS NOT e.version - 1)""",
    "a stored idempotency key without its answer": """
        SELECT 'charging', caller, key FROM charging.idempotency WHERE status IS NULL
        UNION ALL SELECT 'waste', caller, key FROM waste.idempotency WHERE status IS NULL""",
}

AT_REST = {
    "the outbox still has something": " UNION ALL ".join(
        f"SELECT '{name}', type, key FROM {name}.outbox WHERE published_at IS NULL" for name in SERVICES
    ),
    "charging's mirror of car parks differs": """
        SELECT p.id, p.version, m.sequence FROM parking.place p LEFT JOIN charging.place m ON m.id = p.id
        WHERE (m.sequence, m.access, m.state, m.kind, m.name, m.lon, m.lat, m.ev_bays, m.total_bays) IS NOT (
            p.version, p.access, p.state, p.kind, p.name, p.lon, p.lat,
            (SELECT coalesce(sum(capacity), 0) FROM parking.place_pool WHERE place_id = p.id AND category = 'ev'),
            (SELECT coalesce(sum(capacity), 0) FROM parking.place_pool WHERE place_id = p.id AND category <> 'motorcycle'))""",
    "waste's sections of street are not parking's": """
        SELECT p.id, p.kind, p.state, s.state, s.version FROM parking.place p LEFT JOIN waste.street_section s ON s.place_id = p.id
        WHERE CASE p.kind WHEN 'on_street' THEN (s.version, s.state) IS NOT (p.version, p.state) ELSE s.place_id IS NOT NULL END""",
    "parking does not know what an EVSE does": """
        SELECT l.evse_uid, l.version, l.status, c.version, c.status FROM charging.evse_live l
        LEFT JOIN parking.charger c ON c.evse_uid = l.evse_uid
        WHERE l.version > 0 AND (c.version, c.status, c.location_id, c.since) IS NOT (l.version, l.status, l.location_id, l.happened_at)""",
    "parking does not know a station": """
        SELECT l.id, l.version, c.version, l.place_id, c.place_id FROM charging.location l
        LEFT JOIN parking.charger_location c ON c.location_id = l.id
        WHERE (c.version, c.place_id, c.is_open) IS NOT (l.version, l.place_id, l.state = 'open')""",
    "parking follows an older plan": """
        SELECT v.stream, v.on_day, v.version, v.change, p.version, p.state FROM (
            SELECT stream, on_day, plan_id, change, max(version) AS version FROM waste.plan_version GROUP BY stream, on_day) v
        LEFT JOIN parking.collection_plan p ON p.stream = v.stream AND p.on_day = v.on_day
        WHERE (p.version, p.plan_id, p.state) IS NOT (v.version, v.plan_id, v.change)""",
    "a plan is still being searched": "SELECT id, state FROM waste.plan WHERE state IN ('waiting', 'solving')",
    "a job is still open": "SELECT id, kind, state FROM waste.job WHERE state IN ('waiting', 'running')",
    "the platform has not added up what was tipped": """
        SELECT l.site_id, sum(l.net_kg), count(*), t.net_kg, t.events FROM waste.load l LEFT JOIN platform.tipped t USING (site_id)
        GROUP BY l.site_id HAVING sum(l.net_kg) IS NOT t.net_kg OR count(*) IS NOT t.events""",
    "a plan was told that nobody wished": """
        SELECT v.id, v.plan_id FROM waste.plan_version v LEFT JOIN waste.plan p ON p.id = v.plan_id WHERE p.id IS NULL""",
}

WAITING = (
    *(f"SELECT 1 FROM {name}.outbox WHERE published_at IS NULL" for name in SERVICES),
    "SELECT 1 FROM parking.reservation WHERE state = 'held'",
    "SELECT 1 FROM waste.plan WHERE state IN ('waiting', 'solving')",
    "SELECT 1 FROM waste.job WHERE state IN ('waiting', 'running')",
)

ROWS_OF_EVENTS = {
    "parking.place": "SELECT event_id, place_id, version FROM parking.place_version",
    "charging.location": "SELECT event_id, location_id, version FROM charging.location_version",
    "charging.evse": "SELECT event_id, evse_uid, 0 FROM charging.evse_status WHERE event_id IS NOT NULL",
    "waste.plan": "SELECT event_id, plan_id, sequence FROM waste.plan_version",
    "waste.load": "SELECT event_id, chain_id, version FROM waste.load",
    **{
        f"{name}.indicator": f"""
            SELECT event_id, name || '/' || scheme || '/' || on_day, CAST(strftime('%s', substr(known_at, 1, 19)) AS INTEGER)
            FROM {name}.indicator_value"""
        for name in SERVICES
    },
}
NEWEST_OF_STATES = {
    "parking.place": "SELECT id, event_id, version FROM parking.place",
    "charging.location": "SELECT id, event_id, version FROM charging.location",
    "charging.evse": "SELECT evse_uid, event_id, version FROM charging.evse_live WHERE version > 0",
}
