/** What can be said of a car park or a station now: the class that it is shown in, and its counts. Pure. */

import type { Evse, Freshness, Place, Station } from './types.ts'

/** One word for the symbol: what is closed is neither live nor late. */
export type Shown = Freshness | 'closed'

const LIVE_FOR_MS = 30 * 60_000
const UNKNOWN_AFTER_MS = 24 * 60 * 60_000

export interface Count {
  free: number
  total: number
}

/** Free spaces of the categories that were counted, and how many those are; null when none was. */
export function placeCount(place: Place): Count | null {
  const counted = Object.keys(place.free)
  if (!counted.length || place.freshness === 'unknown') return null
  return { free: sum(counted.map((name) => place.free[name] ?? 0)), total: sum(counted.map((name) => place.capacity[name] ?? 0)) }
}

/** While the stream is frozen nothing is live: an old number is never shown as a new one. */
export function placeShown(place: Place, frozen: boolean): Shown {
  if (place.state !== 'open') return 'closed'
  return aged(place.freshness, frozen)
}

/** An EVSE's report grows old by itself: nobody sends an event for that. */
export function evseFreshness(evse: Evse, nowMs: number): Freshness {
  if (evse.freshness === 'unknown' || evse.as_of === null) return 'unknown'
  const passed = nowMs - Date.parse(evse.as_of)
  if (passed >= UNKNOWN_AFTER_MS) return 'unknown'
  return passed >= LIVE_FOR_MS ? 'late' : evse.freshness
}

/** Free of all EVSEs that are there; one that is silent for a day counts as not free. */
export function stationCount(station: Station, nowMs: number): Count | null {
  const there = station.evses.filter((evse) => evse.status !== 'PLANNED' && evse.status !== 'REMOVED')
  if (!there.length || there.every((evse) => evseFreshness(evse, nowMs) === 'unknown')) return null
  const free = there.filter((evse) => evse.status === 'AVAILABLE' && evseFreshness(evse, nowMs) !== 'unknown').length
  return { free, total: there.length }
}

/** As good as its oldest half-way usable report: unknown when all are, late when any of the others is late. */
export function stationShown(station: Station, nowMs: number, frozen: boolean): Shown {
  if (station.state !== 'open') return 'closed'
  const seen = station.evses.map((evse) => evseFreshness(evse, nowMs)).filter((each) => each !== 'unknown')
  if (!seen.length) return 'unknown'
  return aged(seen.includes('live') ? 'live' : 'late', frozen)
}

/** When the station was heard of last. */
export function stationHeard(station: Station): string | null {
  return station.evses.reduce<string | null>((last, evse) => (evse.as_of && (!last || Date.parse(evse.as_of) > Date.parse(last)) ? evse.as_of : last), null)
}

/** How many EVSEs are in each status, the most useful first. */
export function byStatus(station: Station): [string, number][] {
  const counts = new Map<string, number>()
  for (const evse of station.evses) counts.set(evse.status, (counts.get(evse.status) ?? 0) + 1)
  return [...counts].sort((a, b) => rank(a[0]) - rank(b[0]))
}

const STATUSES = ['AVAILABLE', 'CHARGING', 'RESERVED', 'BLOCKED', 'OUTOFORDER', 'INOPERATIVE', 'UNKNOWN', 'PLANNED', 'REMOVED']

function rank(status: string): number {
  const found = STATUSES.indexOf(status)
  return found < 0 ? STATUSES.length : found
}

function aged(freshness: Freshness, frozen: boolean): Freshness {
  return frozen && freshness === 'live' ? 'late' : freshness
}

function sum(numbers: number[]): number {
  return numbers.reduce((all, each) => all + each, 0)
}
