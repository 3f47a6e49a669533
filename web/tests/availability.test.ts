/** Free spaces and bays with how far they can be trusted. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evseFreshness, knownStation, placeCount, placeShown, stationCount, stationShown, stationView, withStatus } from '../kit/availability.ts'
import type { Freshness, KnownEvse, Place, Station } from '../kit/types.ts'

const NOW = Date.parse('2026-11-26T12:00:00Z')
const at = (minutesAgo: number) => new Date(NOW - minutesAgo * 60_000).toISOString()

function place(change: Partial<Place> = {}): Place {
  return {
    id: 'p', name: 'p', position: { lon: 0, lat: 0 }, address: '', kind: 'garage', access: 'public', state: 'open',
    capacity: { standard: 100, ev: 20, large: 4 }, charging_stations: null, invented: false, free: { standard: 30, ev: 2 }, as_of: at(1),
    source: 's', freshness: 'live', forecast: null, charging: null, closed_until: null, closed_for: null, closures: [], ...change,
  }
}

const ago = (minutes: number) => NOW - minutes * 60_000

function evse(uid: string, change: Partial<KnownEvse> = {}): KnownEvse {
  return { uid, status: 'AVAILABLE', heardMs: ago(5), freshness: 'live', ...change }
}

function station(...evses: KnownEvse[]): Station {
  return {
    id: 's', name: 's', name_en: null, position: { lon: 0, lat: 0 }, operator_id: 'o', access: 'public', state: 'open', district: null,
    place_id: null, invented: false, evses,
  }
}

test('free is of the categories that were counted, never of the others', () => {
  assert.deepEqual(placeCount(place()), { free: 32, total: 120 })
})

test('what nobody counted, or not within a day, is unknown and not 0', () => {
  assert.equal(placeCount(place({ free: {} })), null)
  assert.equal(placeCount(place({ freshness: 'unknown' })), null)
})

test('where nobody counts, what is expected is shown with its bounds, and never the old count', () => {
  const of = (mean: number, low: number, high: number) => ({ free: { mean, low, high }, chance: 0.97 })
  const categories = { standard: of(20.4, 14.2, 27.1), ev: of(3, 1, 5), motorcycle: of(9, 8, 10) }
  const forecast = { at: at(0), since: at(90), categories, ...of(23.6, 16.8, 30.2) }
  const silent = place({ freshness: 'forecast', forecast, as_of: at(90) })
  assert.deepEqual(placeCount(silent), { free: 24, total: 120, between: [16, 31] })
  assert.equal(placeShown(silent, false), 'forecast')
  assert.equal(placeShown(silent, true), 'forecast')
  assert.equal(placeShown({ ...silent, state: 'closed' }, false), 'closed')
})

test('a closed car park is closed, however new its count is', () => {
  assert.equal(placeShown(place({ state: 'closed' }), false), 'closed')
})

test('while the stream is frozen nothing is live', () => {
  assert.equal(placeShown(place(), true), 'late')
  assert.equal(stationShown(station(evse('1')), NOW, true), 'late')
  assert.equal(placeShown(place(), false), 'live')
})

test('a report grows old by itself', () => {
  assert.equal(evseFreshness(evse('1', { heardMs: ago(29) }), NOW), 'live')
  assert.equal(evseFreshness(evse('1', { heardMs: ago(30) }), NOW), 'late')
  assert.equal(evseFreshness(evse('1', { heardMs: ago(24 * 60) }), NOW), 'unknown')
  assert.equal(evseFreshness(evse('1', { heardMs: null }), NOW), 'unknown')
})

test('silent for a day is not free, and planned is not there', () => {
  const seen = station(evse('1'), evse('2', { heardMs: ago(24 * 60) }), evse('3', { status: 'PLANNED' }), evse('4', { status: 'CHARGING' }))
  assert.deepEqual(stationCount(seen, NOW), { free: 1, total: 3 })
  assert.equal(stationCount(station(evse('1', { freshness: 'unknown' })), NOW), null)
})

test('a station is as old as the oldest report that counts', () => {
  const seen = station(evse('1', { heardMs: ago(40) }), evse('2', { heardMs: ago(3) }), evse('3', { heardMs: ago(24 * 60) }))
  assert.equal(stationShown(seen, NOW, false), 'late')
  assert.equal(stationView(seen, NOW).heardMs, ago(40))
  assert.deepEqual(stationCount(seen, NOW), { free: 2, total: 3 }) // a late one counts, and the station is marked
  assert.equal(stationShown(station(evse('1'), evse('2', { heardMs: ago(24 * 60) })), NOW, false), 'live')
})

test('a station of which nothing counts is unknown, and tells when it was heard last', () => {
  const seen = station(evse('1', { heardMs: ago(26 * 60) }), evse('2', { heardMs: ago(25 * 60) }))
  assert.equal(stationShown(seen, NOW, false), 'unknown')
  assert.equal(stationView(seen, NOW).heardMs, ago(25 * 60))
  assert.deepEqual(stationView(station(), NOW), { freshness: 'unknown', count: null, heardMs: null, statuses: [] })
})

test('what is planned makes no station late', () => {
  const planned = evse('2', { status: 'PLANNED', heardMs: ago(40) })
  assert.deepEqual([stationShown(station(evse('1'), planned), NOW, false), stationView(station(evse('1'), planned), NOW).heardMs], ['live', ago(5)])
})

test('statuses come in the order of use; one of a day ago is not known', () => {
  const old = evse('5', { heardMs: ago(24 * 60) })
  const seen = station(evse('1', { status: 'OUTOFORDER' }), evse('2', { status: 'CHARGING' }), evse('3'), evse('4', { status: 'CHARGING' }), old)
  assert.deepEqual(stationView(seen, NOW).statuses, [['AVAILABLE', 1], ['CHARGING', 2], ['OUTOFORDER', 1], ['UNKNOWN', 1]])
})

test('a view is worked out once until a report turns', () => {
  const seen = station(evse('1', { heardMs: ago(29) }), evse('2', { heardMs: ago(10) }))
  const view = stationView(seen, NOW)
  assert.equal(stationView(seen, NOW + 59_999), view)
  assert.equal(stationView(seen, NOW + 60_000).freshness, 'late')
  assert.equal(stationView(seen, NOW).freshness, 'live')
})

test('an event makes a point new; one that is older than what is known changes nothing', () => {
  const before = station(evse('1', { heardMs: ago(40) }), evse('2'))
  const told = (minutesAgo: number) => ({ evse_uid: '1', location_id: 's', status: 'CHARGING', since: at(minutesAgo), recorded_at: at(0) })
  const after = withStatus(before, told(1))
  assert.deepEqual(after.evses[0], { uid: '1', status: 'CHARGING', heardMs: ago(1), freshness: 'live' })
  assert.equal(stationShown(after, NOW, false), 'live')
  assert.equal(withStatus(before, told(41)), before)
})

test('instants are read once, when a station is taken', () => {
  const told = { ...station(), evses: [{ uid: '1', status: 'AVAILABLE', as_of: at(3), freshness: 'live' as Freshness }] }
  assert.deepEqual(knownStation(told).evses, [evse('1', { heardMs: ago(3) })])
})

test('a step over all points of a city is cheap', () => {
  const city = Array.from({ length: 2_200 }, (_, id) => ({ ...station(...Array.from({ length: 10 }, (_, n) => evse(`${id}-${n}`))), id: String(id) }))
  let made = 0
  const parse = Date.parse
  Date.parse = (text) => (made++, parse(text))
  try {
    const views = city.map((each) => stationView(each, NOW))
    assert.ok(city.every((each, n) => stationView(each, NOW + 5_000) === views[n]))
  } finally {
    Date.parse = parse
  }
  assert.equal(made, 0)
})
