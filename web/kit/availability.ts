/** What can be said of a car park or a station now: the class that it is shown in, and its counts. Pure. */

import type { EvseChanged, Forecast, Freshness, KnownEvse, Place, Station, ToldStation } from './types.ts'

/** One word for the symbol: what is closed is neither live nor late. */
export type Shown = Freshness | 'forecast' | 'closed'

const LIVE_FOR_MS = 30 * 60_000
const UNKNOWN_AFTER_MS = 24 * 60 * 60_000
const NOT_THERE = ['PLANNED', 'REMOVED']

export interface Count {
  free: number
  total: number
  between?: readonly [number, number] // not counted but expected, and in eight of ten cases within this
}

/** Free spaces of the categories that were counted, and how many those are; null when none was. What is expected where nobody counts. */
export function placeCount(place: Place): Count | null {
  if (place.freshness === 'forecast' && place.forecast) return expected(place, place.forecast)
  const counted = Object.keys(place.free)
  if (!counted.length || place.freshness === 'unknown') return null
  return { free: sum(counted.map((name) => place.free[name] ?? 0)), total: sum(counted.map((name) => place.capacity[name] ?? 0)) }
}

/** The whole of a forecast is what a car driver looks for: without motorcycles' spaces where there are others. */
function expected(place: Place, { free, categories }: Forecast): Count {
  const names = Object.keys(categories)
  const cars = names.filter((name) => name !== 'motorcycle')
  const total = sum((cars.length ? cars : names).map((name) => place.capacity[name] ?? 0))
  return { free: Math.round(free.mean), total, between: [Math.floor(free.low), Math.ceil(free.high)] }
}

/** While the stream is frozen nothing is live: an old number is never shown as a new one. */
export function placeShown(place: Place, frozen: boolean): Shown {
  if (place.state !== 'open') return 'closed'
  return aged(place.freshness, frozen)
}

export function knownStation({ evses, ...facts }: ToldStation): Station {
  const known = evses.map(({ uid, status, as_of, freshness }) => ({ uid, status, freshness, heardMs: as_of === null ? null : Date.parse(as_of) }))
  return { ...facts, evses: known }
}

/** The station after a point's event; the same one when it knows of something newer. */
export function withStatus(station: Station, told: EvseChanged): Station {
  const heardMs = Date.parse(told.since)
  const known = station.evses.find((evse) => evse.uid === told.evse_uid)
  if (!known || (known.heardMs ?? 0) > heardMs) return station
  const next: KnownEvse = { ...known, status: told.status, heardMs, freshness: 'live' }
  return { ...station, evses: station.evses.map((evse) => (evse === known ? next : evse)) }
}

/** A point's report grows old by itself: nobody sends an event for that. */
export function evseFreshness(evse: KnownEvse, nowMs: number): Freshness {
  if (evse.freshness === 'unknown' || evse.heardMs === null) return 'unknown'
  const passed = nowMs - evse.heardMs
  if (passed >= UNKNOWN_AFTER_MS) return 'unknown'
  return passed >= LIVE_FOR_MS ? 'late' : evse.freshness
}

/** What is said of a station's points, those that are planned or removed left out. */
export interface StationView {
  freshness: Freshness // unknown when all are; late when one of the others is
  count: Count | null // free ones of all; one that is silent for a day counts as not free
  heardMs: number | null // the oldest report that counts; where none does, the newest
  statuses: readonly (readonly [string, number])[] // how many are in each, the most useful first
}

const views = new WeakMap<Station, { view: StationView; fromMs: number; untilMs: number }>()

/** Worked out once for a station as it is, until a report of it turns late or unknown. */
export function stationView(station: Station, nowMs: number): StationView {
  const kept = views.get(station)
  if (kept && nowMs >= kept.fromMs && nowMs < kept.untilMs) return kept.view
  const view = viewOf(station, nowMs)
  const turns = station.evses.flatMap(({ heardMs }) => (heardMs === null ? [] : [heardMs + LIVE_FOR_MS, heardMs + UNKNOWN_AFTER_MS]))
  views.set(station, { view, fromMs: nowMs, untilMs: Math.min(...turns.filter((at) => at > nowMs)) })
  return view
}

function viewOf(station: Station, nowMs: number): StationView {
  const statuses = new Map<string, number>()
  const counted: KnownEvse[] = []
  let total = 0
  let isLate = false
  for (const evse of station.evses) {
    const freshness = evseFreshness(evse, nowMs)
    const isThere = !NOT_THERE.includes(evse.status)
    const status = isThere && freshness === 'unknown' ? 'UNKNOWN' : evse.status
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (!isThere) continue
    total += 1
    if (freshness === 'unknown') continue
    counted.push(evse)
    isLate ||= freshness === 'late'
  }
  const free = counted.filter((evse) => evse.status === 'AVAILABLE').length
  const heard = (all: readonly KnownEvse[]) => all.flatMap((evse) => evse.heardMs ?? [])
  const ever = heard(station.evses)
  return {
    freshness: counted.length ? (isLate ? 'late' : 'live') : 'unknown',
    count: counted.length ? { free, total } : null,
    heardMs: counted.length ? Math.min(...heard(counted)) : ever.length ? Math.max(...ever) : null,
    statuses: [...statuses].sort((a, b) => rank(a[0]) - rank(b[0])),
  }
}

export function stationShown(station: Station, nowMs: number, frozen: boolean): Shown {
  return station.state === 'open' ? aged(stationView(station, nowMs).freshness, frozen) : 'closed'
}

export function stationCount(station: Station, nowMs: number): Count | null {
  return stationView(station, nowMs).count
}

const STATUSES = ['AVAILABLE', 'CHARGING', 'RESERVED', 'BLOCKED', 'OUTOFORDER', 'INOPERATIVE', 'UNKNOWN', 'PLANNED', 'REMOVED']

function rank(status: string): number {
  const found = STATUSES.indexOf(status)
  return found < 0 ? STATUSES.length : found
}

function aged<T extends Shown>(freshness: T, frozen: boolean): T | 'late' {
  return frozen && freshness === 'live' ? 'late' : freshness
}

function sum(numbers: number[]): number {
  return numbers.reduce((all, each) => all + each, 0)
}
