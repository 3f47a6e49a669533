/** Free spaces and bays with how far they can be trusted. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { byStatus, evseFreshness, placeCount, placeShown, stationCount, stationHeard, stationShown } from '../kit/availability.ts'
import type { Evse, Place, Station } from '../kit/types.ts'

const NOW = Date.parse('2026-11-26T12:00:00Z')
const at = (minutesAgo: number) => new Date(NOW - minutesAgo * 60_000).toISOString()

function place(change: Partial<Place> = {}): Place {
  return {
    id: 'p', name: 'p', position: { lon: 0, lat: 0 }, address: '', kind: 'garage', access: 'public', state: 'open',
    capacity: { standard: 100, ev: 20, large: 4 }, charging_stations: null, invented: false, free: { standard: 30, ev: 2 }, as_of: at(1),
    source: 's', freshness: 'live', charging: null, closed_until: null, closed_for: null, closures: [], ...change,
  }
}

function evse(uid: string, change: Partial<Evse> = {}): Evse {
  return { uid, status: 'AVAILABLE', since: at(5), as_of: at(5), freshness: 'live', ...change }
}

function station(...evses: Evse[]): Station {
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

test('a closed car park is closed, however new its count is', () => {
  assert.equal(placeShown(place({ state: 'closed' }), false), 'closed')
})

test('while the stream is frozen nothing is live', () => {
  assert.equal(placeShown(place(), true), 'late')
  assert.equal(stationShown(station(evse('1')), NOW, true), 'late')
  assert.equal(placeShown(place(), false), 'live')
})

test('a report grows old by itself', () => {
  assert.equal(evseFreshness(evse('1', { as_of: at(29) }), NOW), 'live')
  assert.equal(evseFreshness(evse('1', { as_of: at(30) }), NOW), 'late')
  assert.equal(evseFreshness(evse('1', { as_of: at(24 * 60) }), NOW), 'unknown')
  assert.equal(evseFreshness(evse('1', { as_of: null }), NOW), 'unknown')
})

test('silent for a day is not free, and planned is not there', () => {
  const seen = station(evse('1'), evse('2', { as_of: at(24 * 60) }), evse('3', { status: 'PLANNED' }), evse('4', { status: 'CHARGING' }))
  assert.deepEqual(stationCount(seen, NOW), { free: 1, total: 3 })
  assert.equal(stationCount(station(evse('1', { freshness: 'unknown' })), NOW), null)
})

test('a station is as good as its newest report', () => {
  assert.equal(stationShown(station(evse('1', { as_of: at(40) }), evse('2')), NOW, false), 'live')
  assert.equal(stationShown(station(evse('1', { as_of: at(40) })), NOW, false), 'late')
  assert.equal(stationShown(station(), NOW, false), 'unknown')
  assert.equal(stationHeard(station(evse('1', { as_of: at(40) }), evse('2', { as_of: at(3) }))), at(3))
})

test('statuses come in the order of use', () => {
  const seen = station(evse('1', { status: 'OUTOFORDER' }), evse('2', { status: 'CHARGING' }), evse('3'), evse('4', { status: 'CHARGING' }))
  assert.deepEqual(byStatus(seen), [['AVAILABLE', 1], ['CHARGING', 2], ['OUTOFORDER', 1]])
})
