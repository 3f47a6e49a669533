/** Numbers say neither more nor less than they are. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asProportion, chancePercent, fill, isCount, kilometres, percent, percentOf, plainName } from '../kit/format.ts'

test('a share that misses its target is never shown as the target', () => {
  const target = { numerator: 15, denominator: 100 }
  const shown = (numerator: number, denominator: number) => percent({ numerator, denominator }, target, 'en')
  assert.equal(shown(14_986, 100_000), '14.99 %')
  assert.equal(shown(14_996, 100_000), '14.996 %')
  assert.equal(shown(149_999_999, 1_000_000_000), '14.9999999 %')
  assert.equal(shown(3, 20), '15 %')
  assert.equal(shown(124, 10_000), '1.2 %')
})

test('what is a third to the last unit has the one digit that its target has', () => {
  const third = { numerator: 1, denominator: 3 }
  assert.equal(percent({ numerator: 1_204, denominator: 3_612 }, third, 'en'), '33.3 %')
  assert.equal(percent({ numerator: 1_203, denominator: 3_612 }, third, 'en'), '33.31 %')
  assert.equal(percentOf(third, 'en'), '33.3 %')
})

test('a milestone is a count, a share is not', () => {
  assert.equal(isCount({ numerator: 5000, denominator: 1 }), true)
  assert.equal(isCount({ numerator: 1, denominator: 1 }), false)
  assert.equal(isCount({ numerator: 3, denominator: 20 }), false)
})

test('a target is shortest, with the proportion where percent is not even', () => {
  assert.equal(percentOf({ numerator: 1, denominator: 3 }, 'en'), '33.3 %')
  assert.equal(percentOf({ numerator: 3, denominator: 20 }, 'en'), '15 %')
  assert.equal(asProportion({ numerator: 1, denominator: 3 }), '1 : 3')
  assert.equal(asProportion({ numerator: 1, denominator: 4 }), '')
})

test('values go into their places, unknown places stay', () => {
  assert.equal(fill('{a} of {b}', { a: 1 }), '1 of {b}')
})

test('metres become kilometres with one digit', () => {
  assert.equal(kilometres(72_714, 'en'), '72.7')
})

test('the mark of an invented thing is cut off its name, only there', () => {
  assert.equal(plainName('文化广场停车场（虚构）', true), '文化广场停车场')
  assert.equal(plainName('Culture Square (invented)', true), 'Culture Square')
  assert.equal(plainName('虚构（虚构）', false), '虚构（虚构）')
})

test('only what is sure is shown as 100 or 0 of a hundred', () => {
  assert.deepEqual([1, 0.996, 0.99, 0.5, 0.004, 0].map(chancePercent), ['100', '>99', '99', '50', '<1', '0'])
})
