/** A service's numbers over a stream that opens late, breaks, is behind or never comes. Time and network are the test's. */

import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import type { Live } from '../kit/live.ts'

const BEGAN = 1_800_000_000_000
mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: BEGAN })

/** A browser's EventSource, which does what the test says. */
class Source {
  static readonly CLOSED = 2
  readyState = 0
  onopen = () => {}
  onerror = () => {}
  private readonly heard: Record<string, (event: { data: string }) => void> = {}

  constructor() {
    sources.push(this)
  }

  addEventListener(name: string, call: (event: { data: string }) => void): void {
    this.heard[name] = call
  }

  close(): void {
    this.readyState = Source.CLOSED
  }

  tell(name: string, data: object = {}): void {
    this.heard[name]?.({ data: JSON.stringify(data) })
  }

  ping(): void {
    this.tell('ping', { at: new Date().toISOString() })
  }

  open(): void {
    this.onopen()
    this.ping()
  }
}

const sources: Source[] = []
let asked: { at: number; path: string }[] = []
let answers: (path: string) => Response = () => new Response('{}')
const page = { hidden: false, seen: () => {}, addEventListener: (_: string, call: () => void) => (page.seen = call) }

const browser: Record<string, unknown> = {
  window: globalThis,
  document: page,
  navigator: {},
  EventSource: Source,
  performance: { now: () => Date.now() - BEGAN },
  fetch: async (path: string) => {
    asked.push({ at: performance.now(), path })
    return answers(path)
  },
}
for (const [name, value] of Object.entries(browser)) Object.defineProperty(globalThis, name, { value, configurable: true })
AbortSignal.timeout = () => new AbortController().signal // its timer is not the test's

const { emptyResource, Live: Feed } = await import('../kit/live.ts')
const { Part } = await import('../kit/part.ts')

function started(): Live {
  const part = (path: string, again: boolean) =>
    new Part<{ as_of?: string }, object>({ path, into: emptyResource(), take: (answer) => answer, asOf: (answer) => answer.as_of ?? new Date().toISOString(), again })
  const live = new Feed({ service: 'parking', parts: [part('/things', true), part('/figures', false)] })
  live.start()
  return live
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise<void>((done) => setImmediate(done))
}

async function pass(live: Live, seconds: number, source?: Source): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    mock.timers.tick(1_000)
    if (second % 8 === 0) source?.ping()
    live.tick()
    await settled()
  }
}

async function opened(): Promise<[Live, Source]> {
  const live = started()
  const source = latest()
  source.open()
  await settled()
  assert.equal(live.feed.value.phase, 'live')
  return [live, source]
}

function latest(): Source {
  const source = sources.at(-1)
  assert.ok(source)
  return source
}

const times = (path: string) => asked.filter((each) => each.path === path).length
const phase = (live: Live) => live.feed.value.phase

beforeEach(() => {
  sources.length = 0
  asked = []
  answers = () => new Response('{}')
  page.hidden = false
})

test('a stream that never opened is tried again and again; meanwhile numbers are read, as of then', async () => {
  const live = started()
  await pass(live, 150)
  assert.ok(sources.length >= 6 && sources.length <= 8, `${sources.length} streams`)
  assert.ok(times('/things') >= 3 && times('/things') <= 6, `${times('/things')} readings`)
  assert.deepEqual([phase(live), live.feed.value.since > Date.now() - 61_000], ['frozen', true])
  latest().open()
  await settled()
  assert.equal(phase(live), 'live')
})

test('after a break a part that fails keeps the page frozen, and is asked for when its service allows', async () => {
  const [live, source] = await opened()
  answers = (path) => (path === '/figures' ? new Response('{"title": "no", "retry_after_s": 41}', { status: 503 }) : new Response('{}'))
  source.onerror()
  assert.deepEqual([phase(live), sources.length], ['frozen', 1]) // the browser goes on by itself
  source.open()
  await settled()
  assert.equal(phase(live), 'frozen')
  asked = []
  await pass(live, 40, source)
  assert.deepEqual(asked, [])
  answers = () => new Response('{}')
  await pass(live, 14, source)
  assert.equal(phase(live), 'live')
})

test('an answer that is older than the stream is of a replica that is behind: it is read once more before it is live', async () => {
  answers = () => new Response(JSON.stringify({ as_of: new Date(Date.now() - 5_000).toISOString() }))
  const live = started()
  latest().open()
  await settled()
  assert.equal(phase(live), 'frozen')
  await pass(live, 3)
  assert.deepEqual([phase(live), times('/things')], ['live', 2])
})

test('what the stream does not tell is read every ten minutes or so, and when the page is seen again', async () => {
  const [live, source] = await opened()
  await pass(live, 1_600, source)
  const read = times('/things')
  assert.ok(read >= 3 && read <= 4, `${read} readings`)
  assert.equal(times('/figures'), 1)
  page.hidden = true
  await pass(live, 800, source)
  assert.equal(times('/things'), read)
  page.hidden = false
  page.seen()
  await settled()
  assert.equal(times('/things'), read + 1)
})

test('a stream that was closed is made anew, one that tells of a gap stays', async () => {
  const [live, source] = await opened()
  source.close()
  source.onerror()
  await pass(live, 4)
  assert.equal(sources.length, 2)
  latest().open()
  await settled()
  latest().tell('reset')
  assert.equal(phase(live), 'frozen')
  await pass(live, 2)
  assert.deepEqual([phase(live), sources.length], ['live', 2])
})
