/** Nobody asks sooner than a service allows, nor all at one instant; routes of yesterday do not stay. */

import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { asksForRoutes, DayWatch } from '../kit/routes-day.ts'
import { about, backOff } from '../kit/waits.ts'

const [LEAST, MOST] = [() => 0, () => 0.999_999]
const TODAY = '2026-11-26'

test('a service that says when to come again is never asked sooner, and not by all at once', () => {
  assert.equal(backOff(1, 41, LEAST), 41_000)
  assert.ok(backOff(1, 41, MOST) > 50_000)
  assert.equal(backOff(4, 1, LEAST), 20_000) // its own pause is longer
})

test('pauses grow with failures and end at half a minute', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 100].map((failures) => backOff(failures, null, LEAST)), [2_000, 5_000, 10_000, 20_000, 30_000, 30_000, 30_000])
  assert.deepEqual([about(1_000, LEAST), Math.round(about(1_000, MOST))], [750, 1_250])
})

test('only a plan of today that holds, or did, asks for routes', () => {
  const plan = { plan_id: 'p', on: TODAY, state: 'published' }
  for (const state of ['published', 'superseded', 'withdrawn']) assert.equal(asksForRoutes({ ...plan, state }, TODAY), true)
  for (const state of ['waiting', 'solving', 'ready', 'failed', 'cancelled']) assert.equal(asksForRoutes({ ...plan, state }, TODAY), false)
  assert.equal(asksForRoutes({ ...plan, on: '2026-11-27' }, TODAY), false)
})

test('changes of one moment are one reading, within 0.7 s', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    let readings = 0
    const watch = new DayWatch(async () => void readings++, MOST)
    for (const _ of [1, 2, 3]) watch.changed()
    assert.equal(readings, 0)
    mock.timers.tick(700)
    assert.equal(readings, 1)
    watch.changed()
    mock.timers.tick(700)
    assert.equal(readings, 2)
  } finally {
    mock.timers.reset()
  }
})

test('routes of yesterday are asked for again, ever more seldom, until they are of today', () => {
  const at: number[] = []
  let second = 0
  const watch = new DayWatch(async () => void at.push(second), LEAST)
  for (second = 0; second < 60; second++) watch.tick('2026-11-25', TODAY, second * 1_000)
  assert.deepEqual(at, [0, 2, 7, 17, 37])
  watch.tick(TODAY, TODAY, 60_000)
  for (second = 61; second < 100; second++) watch.tick(TODAY, TODAY, second * 1_000)
  assert.equal(at.length, 5)
})

test('at midnight not all clients ask at once', () => {
  const firstAt = (random: () => number) => {
    const at: number[] = []
    let second = 0
    const watch = new DayWatch(async () => void at.push(second), random)
    for (; second < 15; second++) watch.tick('2026-11-25', TODAY, second * 1_000)
    return at[0]
  }
  assert.equal(firstAt(LEAST), 0)
  assert.equal(firstAt(MOST), 10)
})
