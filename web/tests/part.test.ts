/** Snapshot and events of a part: nothing falls between, nothing old comes over something new. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProblemError, problemOf } from '../kit/api.ts'
import { Part } from '../kit/part.ts'
import { type Held, readInto } from '../kit/resource.ts'

type Numbers = Record<string, number>

/** A part whose answers come when the test gives them. */
function slow() {
  const into: Held<Numbers> = { value: { value: null, problem: null } }
  const asked: { answer: (value: Numbers) => void; fail: (error: Error) => void }[] = []
  const get = () => new Promise<unknown>((answer, fail) => asked.push({ answer, fail }))
  const options = {
    path: '/x',
    into,
    take: (answer: Numbers) => answer,
    event: 'changed',
    apply: (value: Numbers, told: readonly unknown[]) => Object.assign({}, value, ...(told as Numbers[])) as Numbers,
  }
  const part = new Part<Numbers, Numbers>(options, get)
  return { part, into, asked }
}

function told<T>({ value: { value, problem } }: Held<T>): unknown[] {
  return [value, problem?.message, problem?.status]
}

test('what is told while a snapshot is on its way is in it as soon as it is there', async () => {
  const { part, into, asked } = slow()
  const reading = part.read()
  part.hear({ name: 'changed', data: { a: 2 } })
  part.hear({ name: 'other', data: { a: 9 } })
  asked[0]?.answer({ a: 1, b: 1 })
  await reading
  assert.deepEqual(into.value.value, { a: 2, b: 1 })
})

test('of two readings the later one is taken, in whichever order they end', async () => {
  const { part, into, asked } = slow()
  const [first, second] = [part.read(), part.read()]
  asked[1]?.answer({ a: 2 })
  await second
  asked[0]?.answer({ a: 1 })
  await first
  assert.deepEqual(into.value.value, { a: 2 })
})

test('a reading that was overtaken ends as the later one does', async () => {
  const { part, asked } = slow()
  const [first, second] = [part.read(), part.read()]
  asked[0]?.answer({ a: 1 })
  asked[1]?.fail(new ProblemError('no', 503, 7))
  assert.equal((await first).problem?.retryAfterS, 7)
  assert.equal((await second).problem?.message, 'no')
})

test('a failed reading keeps what was there and says so, a failed refresh only keeps it', async () => {
  const { part, into, asked } = slow()
  const read = async (how: 'read' | 'refresh', settle: () => void) => {
    const done = part[how]()
    settle()
    return done
  }
  await read('read', () => asked[0]?.answer({ a: 1 }))
  await read('refresh', () => asked[1]?.fail(new ProblemError('no', 503)))
  assert.deepEqual(into.value, { value: { a: 1 }, problem: null })
  await read('read', () => asked[2]?.fail(new ProblemError('no', 503)))
  assert.deepEqual(told(into), [{ a: 1 }, 'no', 503])
})

test('of several paths the first that answers is taken', async () => {
  const held: Held<string> = { value: { value: null, problem: null } }
  const read = (path: string) => (path === '/b' ? Promise.resolve('b') : Promise.reject(new Error('no')))
  await readInto(held, ['/a', '/b', '/c'], String, read)
  assert.deepEqual(held.value, { value: 'b', problem: null })
  await readInto(held, ['/a'], String, read)
  assert.deepEqual(told(held), ['b', 'Error: no', 0])
})

test('a slow first answer does not follow the second one, and neither does its failure', async () => {
  const held: Held<string> = { value: { value: null, problem: null } }
  for (const late of ['answer', 'fail'] as const) {
    let settle = () => {}
    const slow = readInto(held, ['/first'], String, () => new Promise((answer, fail) => (settle = () => (late === 'answer' ? answer('first') : fail(new Error('no'))))))
    await readInto(held, ['/second'], String, () => Promise.resolve('second'))
    settle()
    await slow
    assert.deepEqual(held.value, { value: 'second', problem: null })
  }
})

test('a problem says when to come again, in its body or its head', async () => {
  const answer = (body: unknown, headers: Record<string, string> = {}) => new Response(JSON.stringify(body), { status: 429, headers })
  assert.equal((await problemOf(answer({ title: 'Many', retry_after_s: 41 }, { 'retry-after': '5' }))).retryAfterS, 41)
  assert.equal((await problemOf(answer({ title: 'Many' }, { 'retry-after': '5' }))).retryAfterS, 5)
  assert.equal((await problemOf(answer({ title: 'Many' }, { 'retry-after': 'Thu, 26 Nov 2026 12:00:00 GMT' }))).retryAfterS, null)
  const html = await problemOf(new Response('<html>', { status: 503 }))
  assert.deepEqual([html.message, html.retryAfterS], ['HTTP 503', null])
})
