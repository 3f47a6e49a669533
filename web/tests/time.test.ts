/** Ages and the city's hours, wherever the reader is. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { age, cityDay, cityTime, clockSkew, daysBetween } from '../kit/time.ts'

const MINUTE = 60_000

test('ages are in the largest unit that fits', () => {
  assert.deepEqual(age(0, 59_999), { unit: 'now', count: 0 })
  assert.deepEqual(age(0, 3 * MINUTE + 1), { unit: 'minutes', count: 3 })
  assert.deepEqual(age(0, 119 * MINUTE), { unit: 'hours', count: 1 })
  assert.deepEqual(age(0, 49 * 60 * MINUTE), { unit: 'days', count: 2 })
})

test('what seems to come from the future is new', () => {
  assert.deepEqual(age(10 * MINUTE, 0), { unit: 'now', count: 0 })
})

test('times are those of the city', () => {
  const at = Date.parse('2026-11-26T16:05:09Z')
  assert.equal(cityTime(at), '00:05:09')
  assert.equal(cityTime(at, 'minute'), '00:05')
  assert.equal(cityTime(at, 'full'), '2026-11-27 00:05:09')
  assert.equal(cityDay(at), '2026-11-27')
})

test('days between dates do not depend on hours', () => {
  assert.equal(daysBetween('2025-12-31', '2026-11-26'), 330)
  assert.equal(daysBetween('2026-11-26', '2026-11-26'), 0)
  assert.equal(daysBetween('2026-12-31', '2026-11-26'), -35)
})

test('a wrong clock is put right, the way of an answer is not a wrong clock', () => {
  assert.equal(clockSkew(500_000, 100_000), 400_000)
  assert.equal(clockSkew(100_000, 101_500), 0)
})
