/** Rows, lines and pictures. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chained, type Lonlat } from '../kit/map/chain.ts'
import { network } from '../kit/map/network.ts'
import { fits, sorted } from '../kit/sorting.ts'
import { sign } from '../kit/symbols.ts'
import { trendShape } from '../kit/trend-shape.ts'

const FRAME = { width: 100, height: 40, pad: 0 }

test('what has no value comes last in both directions', () => {
  const rows = [{ n: 2 }, { n: null }, { n: 1 }]
  assert.deepEqual(sorted(rows, (row) => row.n, 'ascending').map((row) => row.n), [1, 2, null])
  assert.deepEqual(sorted(rows, (row) => row.n, 'descending').map((row) => row.n), [2, 1, null])
})

test('every word that was typed must be somewhere', () => {
  assert.equal(fits('culture 01', ['Culture Square', null, 'sample-001']), true)
  assert.equal(fits('culture x', ['Culture Square']), false)
  assert.equal(fits('  ', []), true)
})

test('pieces of a street become one line, whichever way they run', () => {
  const line = (...points: Lonlat[]) => ({ name: 'a', line: points })
  const joined = chained([line([0, 0], [1, 0]), line([2, 0], [1, 0]), line([2, 0], [3, 0]), { name: 'b', line: [[3, 0], [4, 0]] }])
  assert.equal(joined.length, 2)
  const points = joined.find((street) => street.name === 'a')?.line.map(([x]) => x)
  assert.deepEqual(points?.sort(), [0, 1, 2, 3])
})

test('a day without a value breaks the line of a trend and is not 0', () => {
  const day = (on: string, value: string | null) => ({ on, numerator: 0, denominator: 0, value })
  const days = [day('2026-11-01', '0.1'), day('2026-11-02', '0.2'), day('2026-11-03', null), day('2026-11-04', '0.3')]
  const shape = trendShape(days, 0.5, '2026-11-11', '2026-11-06', FRAME)
  assert.equal(shape.lines.length, 1)
  assert.equal(shape.dots.length, 1)
  assert.equal(shape.deadlineX, 100)
  assert.equal(shape.todayX, 50)
  assert.ok(shape.targetY < (shape.last?.y ?? 0), 'the target lies above what misses it')
})

test('days that were not published are not drawn over', () => {
  const day = (on: string) => ({ on, numerator: 1, denominator: 10, value: '0.1' })
  const shape = trendShape([day('2026-11-01'), day('2026-11-02'), day('2026-11-05'), day('2026-11-06')], 0.5, '2026-11-11', '2026-11-06', FRAME)
  assert.equal(shape.lines.length, 2)
  assert.deepEqual(shape.dots, [])
})

test('a trend of one value and a deadline long ago stays in the frame', () => {
  const shape = trendShape([{ on: '2026-11-26', numerator: 1, denominator: 1, value: '1' }], 1, '2025-12-31', '2026-11-26', FRAME)
  assert.equal(shape.deadlineX, null)
  assert.deepEqual(shape.lines, [])
  assert.ok(shape.last && shape.last.x >= 0 && shape.last.x <= 100 && shape.last.y >= 0 && shape.last.y <= 40)
})

test('signs of one kind differ in more than colour', () => {
  const colours = { strong: '#000', paper: '#fff', ink: '#fff' }
  for (const kind of ['place', 'station'] as const) {
    const all = (['live', 'late', 'unknown', 'closed'] as const).map((shown) => sign(kind, shown, colours))
    assert.equal(new Set(all).size, 4)
  }
  assert.notEqual(sign('place', 'closed', colours), sign('station', 'closed', colours))
})

test('a network has every piece of its tours once, eastward, and nothing else', () => {
  const there: Lonlat[] = [[0, 0], [1, 0], [2, 0], [2, 1]]
  const lines = network([there, there.toReversed(), [[1, 0], [1, 5]]])
  const pieces = lines.flatMap((line) => line.slice(1).map((to, at) => `${line[at]} ${to}`))
  assert.deepEqual(pieces.sort(), ['0,0 1,0', '1,0 1,5', '1,0 2,0', '2,0 2,1'])
})

test('a network goes straight on where streets cross', () => {
  const lines = network([[[0, 0], [1, 0], [2, 0]], [[1, -1], [1, 0], [1, 1]]])
  assert.deepEqual(lines.map((line) => line.length), [3, 3])
})

test('a ring is a network, too', () => {
  const ring: Lonlat[] = [[0, 0], [1, 1], [2, 0], [1, -1], [0, 0]]
  const pieces = network([ring]).reduce((all, line) => all + line.length - 1, 0)
  assert.equal(pieces, 4)
})
