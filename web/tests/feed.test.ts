/** An old number is never shown as a new one: what is live, frozen, away. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Feed, type FeedEvent, newFeed, nextFeed, readingTold, SILENT_AFTER_MS } from '../kit/feed.ts'

const BEGAN = 1_000_000

function after(...steps: [number, FeedEvent][]): Feed {
  return steps.reduce((feed, [at, event]) => nextFeed(feed, event, BEGAN + at), newFeed(BEGAN))
}

test('nothing is live before numbers are read and the stream stands', () => {
  assert.equal(after().phase, 'waiting')
  assert.equal(after([5, { kind: 'open' }]).phase, 'waiting')
  assert.equal(after([5, { kind: 'open' }], [9, { kind: 'read' }]).phase, 'live')
})

test('without a stream, what was read is frozen at that instant', () => {
  const feed = after([9, { kind: 'read' }])
  assert.deepEqual([feed.phase, feed.since], ['frozen', BEGAN + 9])
})

test('two missed pings freeze, since the last word', () => {
  const live: [number, FeedEvent][] = [[0, { kind: 'open' }], [1, { kind: 'read' }], [500, { kind: 'heard' }]]
  assert.equal(after(...live, [500 + SILENT_AFTER_MS, { kind: 'tick' }]).phase, 'live')
  const feed = after(...live, [501 + SILENT_AFTER_MS, { kind: 'tick' }])
  assert.deepEqual([feed.phase, feed.since, feed.streaming], ['frozen', BEGAN + 500, false])
})

test('a broken stream freezes at once, and only a reading behind it thaws', () => {
  const broken = after([0, { kind: 'open' }], [1, { kind: 'read' }], [500, { kind: 'heard' }], [700, { kind: 'error' }])
  assert.deepEqual([broken.phase, broken.since], ['frozen', BEGAN + 500])
  const back = nextFeed(broken, { kind: 'open' }, BEGAN + 900)
  assert.equal(back.phase, 'frozen')
  assert.equal(nextFeed(back, { kind: 'read' }, BEGAN + 950).phase, 'live')
})

test('the instant of freezing stays while attempts fail', () => {
  const feed = after([0, { kind: 'open' }], [1, { kind: 'read' }], [2, { kind: 'error' }], [3_000, { kind: 'failed', problem: 'no' }], [6_000, { kind: 'error' }])
  assert.deepEqual([feed.phase, feed.since, feed.problem], ['frozen', BEGAN, 'no'])
})

test('a service that never answered is away since the first failure', () => {
  const feed = after([100, { kind: 'failed', problem: 'no' }], [2_000, { kind: 'failed', problem: 'no' }])
  assert.deepEqual([feed.phase, feed.since], ['away', BEGAN + 100])
  assert.equal(nextFeed(nextFeed(feed, { kind: 'open' }, BEGAN + 3_000), { kind: 'read' }, BEGAN + 3_001).phase, 'live')
})

test('after a break a reading that failed in a part does not make the others live', () => {
  const broken = after([0, { kind: 'open' }], [1, { kind: 'read' }], [2, { kind: 'error' }], [900, { kind: 'open' }])
  const partly = nextFeed(broken, readingTold(2, ['figures: 503'], false), BEGAN + 950)
  assert.deepEqual([partly.phase, partly.since, partly.problem], ['frozen', BEGAN, 'figures: 503'])
  assert.equal(nextFeed(partly, readingTold(2, [], false), BEGAN + 2_000).phase, 'live')
})

test('everything is read when nothing failed, nothing when all did', () => {
  assert.deepEqual(readingTold(2, [], false), { kind: 'read' })
  assert.deepEqual(readingTold(2, ['', 'no'], false), { kind: 'failed', problem: 'no' })
  assert.deepEqual(readingTold(2, [''], false), { kind: 'partly', problem: 'network' })
  assert.equal(readingTold(2, [], true).kind, 'partly') // of a replica that is behind the stream
})

test('a first reading that failed in a part shows what there is, not as live', () => {
  assert.equal(after([5, { kind: 'open' }], [9, { kind: 'partly', problem: 'no' }]).phase, 'frozen')
})

test('a reset freezes until everything is read again', () => {
  const reset = after([0, { kind: 'open' }], [1, { kind: 'read' }], [700, { kind: 'heard' }], [700, { kind: 'reset' }])
  assert.deepEqual([reset.phase, reset.since], ['frozen', BEGAN + 700])
  assert.equal(nextFeed(reset, { kind: 'read' }, BEGAN + 900).phase, 'live')
})

test('numbers that were read before the stream stood are not live when it stands', () => {
  const opened = after([9, { kind: 'read' }], [500, { kind: 'open' }])
  assert.equal(opened.phase, 'frozen')
  assert.equal(nextFeed(opened, { kind: 'read' }, BEGAN + 600).phase, 'live')
})

test('without a stream each reading moves the instant that the numbers are of', () => {
  const broken = after([0, { kind: 'open' }], [1, { kind: 'read' }], [2, { kind: 'error' }], [40_000, { kind: 'read' }])
  assert.deepEqual([broken.phase, broken.since], ['frozen', BEGAN + 40_000])
})
