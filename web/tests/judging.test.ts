/** What is in trouble comes first, and no data is neither 0 nor good. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { byTrouble, headline, type Known, learn, newest, verdict } from '../kit/judging.ts'
import type { Indicator, Scheme } from '../kit/types.ts'

const TODAY = '2026-11-26'

function indicator(name: string, change: Partial<Indicator> & { scheme?: Partial<Scheme> } = {}): Indicator {
  const { scheme, ...rest } = change
  return {
    name, title: name, title_zh: name, unit: 'bays', source: '', formula: '', formula_version: 1, target: { numerator: 3, denominator: 20 },
    deadline: '2026-12-31', better: 'higher', on: TODAY, at: `${TODAY}T10:00:00Z`, known_at: `${TODAY}T10:00:00Z`, provisional: false,
    schemes: [
      {
        id: 'all', title: '', title_zh: '', source: '', missing: null, published: null, numerator: 1, denominator: 10, value: '0.100000',
        status: 'missed', gap: 5, ...scheme,
      },
    ],
    ...rest,
  }
}

const known = (each: Indicator): Known => learn(undefined, each)
const order = (...all: Indicator[]) => all.map(known).sort(byTrouble(TODAY)).map((each) => newest(each).name)

test('overdue is missed behind the deadline, not on its day', () => {
  assert.equal(verdict({ status: 'missed' }, '2026-11-25', TODAY), 'overdue')
  assert.equal(verdict({ status: 'missed' }, TODAY, TODAY), 'missed')
  assert.equal(verdict({ status: 'met' }, '2025-12-31', TODAY), 'met')
})

test('overdue, missed, without data, met; within one the farther from the target first', () => {
  assert.deepEqual(
    order(
      indicator('met', { scheme: { status: 'met', value: '0.2', gap: 0 } }),
      indicator('none', { scheme: { status: 'no_data', value: null, gap: null } }),
      indicator('near', { scheme: { value: '0.14' } }),
      indicator('far', { scheme: { value: '0.01' } }),
      indicator('late', { deadline: '2025-12-31', scheme: { value: '0.149' } }),
    ),
    ['late', 'far', 'near', 'none', 'met'],
  )
})

test('closed and provisional stand beside each other, and the closed one speaks', () => {
  const both = learn(known(indicator('x')), indicator('x', { provisional: true, scheme: { value: '0.3' } }))
  assert.equal(headline(newest(both)).value, '0.100000')
  assert.equal(both.provisional && headline(both.provisional).value, '0.3')
})

test('an older answer never replaces a newer one', () => {
  const newer = known(indicator('x', { known_at: `${TODAY}T10:05:00Z` }))
  assert.equal(learn(newer, indicator('x')), newer)
})

test('an event without a trend leaves the one that is known', () => {
  const day = { on: TODAY, numerator: 1, denominator: 10, value: '0.1' }
  const told = learn(known(indicator('x', { scheme: { trend: [day] } })), indicator('x', { known_at: `${TODAY}T10:01:00Z` }))
  assert.deepEqual(headline(newest(told)).trend, [day])
})
