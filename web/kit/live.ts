/** A service's numbers on a page: snapshot and stream kept together, broken off and caught up. */

import { type Signal, signal } from '@preact/signals'
import { nowMs, setClock } from './clock.ts'
import { type Feed, type FeedEvent, newFeed, nextFeed, readingTold, SILENT_AFTER_MS } from './feed.ts'
import type { AnyPart, Change, Outcome } from './part.ts'
import type { Resource } from './resource.ts'
import { type EventSourceStream, sharedStream, type StreamTold } from './stream.ts'
import type { Service } from './types.ts'
import { about, backOff, between } from './waits.ts'

export interface LiveOptions {
  service: Service
  parts: readonly AnyPart[]
  also?: Readonly<Record<string, (data: unknown) => void>> // events that change no part by themselves
}

const OPEN_WITHIN_MS = 3_000 // a stream that does not open does not keep the numbers back
const TOGETHER_MS = 100
const MANY = 1_000 // things; a step over more of them is taken less often
const MANY_TOGETHER_MS = 1_000
const WITHOUT_STREAM_MS = [30_000, 60_000] as const
const AGAIN_MS = 10 * 60_000
const SEEN_AGAIN_MS = 60_000 // who comes back to the page within it needs no reading
const RESET_WITHIN_MS = 1_000 // a reset is told to all clients at once
// a replica in whose memory nothing changes says so every 2 s: an answer that is older is of one that is behind
const BEHIND_MS = 2_500
const BEHIND_AGAIN_MS = 2_000

export function emptyResource<T>(): Signal<Resource<T>> {
  return signal({ value: null, problem: null })
}

export class Live {
  readonly service: Service
  readonly feed: Signal<Feed> = signal(newFeed(nowMs()))
  private readonly options: LiveOptions
  private stream: EventSourceStream | null = null
  private reading = 0 // counts up: only the newest reading counts
  private failures = 0
  private notBefore = 0 // a service said when to come again
  private later = 0
  private triedAt = 0 // the last sign that somebody tries to open the stream
  private openedAt: number | null = null // when the stream opened, by the service's clock
  private wasBehind = false
  private readAt = 0
  private againAt = Infinity
  private queue: Change[] = []
  private flushing = 0

  constructor(options: LiveOptions) {
    this.service = options.service
    this.options = options
  }

  start(): void {
    const told = this.options.parts.flatMap((part) => part.event ?? [])
    const names = new Set([...told, ...Object.keys(this.options.also ?? {}), 'ping', 'reset'])
    this.triedAt = performance.now()
    this.stream = sharedStream(this.service, [...names], (told) => this.hear(told))
    this.readLater(OPEN_WITHIN_MS)
    document.addEventListener('visibilitychange', () => this.seen())
  }

  /** Once a second: what is silent for too long, or never opened, is connected again; what is not all told is read again. */
  tick(): void {
    const before = this.feed.value.streaming
    this.step({ kind: 'tick' })
    const { streaming, phase } = this.feed.value
    const now = performance.now()
    if (!streaming && (before || now - this.triedAt > SILENT_AFTER_MS)) {
      this.triedAt = now
      this.stream?.restart()
      if (!this.later) this.readWithoutStream()
    }
    if (phase === 'live' && !document.hidden && now >= this.againAt) void this.again()
  }

  /** Reads the snapshot now; what cannot be read is tried again. */
  async read(): Promise<void> {
    window.clearTimeout(this.later)
    this.later = 0
    this.flush()
    const mine = ++this.reading
    const outcomes = await Promise.all(this.options.parts.map((part) => part.read()))
    if (mine !== this.reading) return
    const problems = outcomes.flatMap(({ problem }) => problem ?? [])
    const isBehind = !problems.length && this.isBehind(outcomes)
    this.step(readingTold(outcomes.length, problems.map(({ message }) => message), isBehind))
    this.readAt = performance.now()
    this.againAt = this.readAt + about(AGAIN_MS)
    if (problems.length) this.failed(outcomes)
    else this.failures = 0
    if (isBehind) this.readLater(about(BEHIND_AGAIN_MS))
    else if (!problems.length && !this.feed.value.streaming) this.readWithoutStream()
  }

  /** Reads one part because the stream said that it changed; until that is done, it is not as new as the stream. */
  async readPart(part: AnyPart): Promise<void> {
    this.flush()
    const outcome = await part.read()
    if (!outcome.problem) return
    this.step({ kind: 'reset' })
    if (!this.later) this.failed([outcome])
  }

  private async again(): Promise<void> {
    this.againAt = performance.now() + about(AGAIN_MS)
    this.flush()
    const outcomes = await Promise.all(this.options.parts.filter((part) => part.again).map((part) => part.refresh()))
    const failed = outcomes.filter(({ problem }) => problem)
    if (failed.length) this.againAt = performance.now() + Math.max(between(...WITHOUT_STREAM_MS), backOff(1, retryAfter(failed)))
    else this.readAt = performance.now()
  }

  /** Somebody looks at the page again. */
  private seen(): void {
    if (document.hidden || performance.now() - this.readAt < SEEN_AGAIN_MS) return
    if (this.feed.value.phase === 'live') void this.again()
    else this.readSoon()
  }

  private failed(outcomes: readonly Outcome[]): void {
    const afterS = retryAfter(outcomes)
    this.failures += 1
    if (afterS !== null) this.notBefore = performance.now() + afterS * 1_000
    this.readLater(backOff(this.failures, afterS))
  }

  /** With two replicas the one that answers may be behind the one that streams; then what lies between is in neither. */
  private isBehind(outcomes: readonly Outcome[]): boolean {
    const { openedAt } = this
    const older = openedAt !== null && outcomes.some(({ asOfMs }) => asOfMs !== null && asOfMs < openedAt - BEHIND_MS)
    this.wasBehind = older && !this.wasBehind // once: a second answer is taken as it is
    return this.wasBehind
  }

  private readSoon(): void {
    const wait = this.notBefore - performance.now()
    this.reading += 1 // one that is on its way began too early
    if (wait > 0) this.readLater(about(wait + 1_000))
    else void this.read()
  }

  private readWithoutStream(): void {
    this.readLater(between(...WITHOUT_STREAM_MS))
  }

  private readLater(afterMs: number): void {
    window.clearTimeout(this.later)
    this.later = window.setTimeout(() => {
      this.later = 0
      if (document.hidden && !this.feed.value.streaming && this.feed.value.hasNumbers) this.readWithoutStream()
      else void this.read()
    }, afterMs)
  }

  private hear(told: StreamTold): void {
    if (told.kind === 'error') {
      this.triedAt = performance.now()
      this.step({ kind: 'error' })
      if (!this.feed.value.hasNumbers && !this.reading) this.readLater(0)
      else if (!this.later) this.readWithoutStream()
      return
    }
    const wasStreaming = this.feed.value.streaming
    if (told.kind === 'open') {
      this.openedAt = null
      this.wasBehind = false
      this.step({ kind: 'open' })
      this.readSoon() // from here on the stream tells everything: nothing falls between
      return
    }
    this.step({ kind: 'heard' })
    if (told.name === 'reset') {
      this.step({ kind: 'reset' })
      this.reading += 1
      this.readLater(Math.max(between(0, RESET_WITHIN_MS), this.notBefore - performance.now()))
      return
    }
    if (!wasStreaming) this.readSoon()
    const data = parsed(told.data)
    if (data === undefined) return
    if (told.name === 'ping') this.pinged((data as { at: string }).at)
    else this.enqueue({ name: told.name, data })
  }

  private pinged(at: string): void {
    setClock(at)
    this.openedAt ??= Date.parse(at)
  }

  private enqueue(change: Change): void {
    this.options.also?.[change.name]?.(change.data)
    for (const part of this.options.parts) part.hear(change)
    this.queue.push(change)
    if (this.flushing) return
    const things = this.options.parts.reduce((all, part) => all + part.size(), 0)
    this.flushing = window.setTimeout(() => this.flush(), things > MANY ? MANY_TOGETHER_MS : TOGETHER_MS)
  }

  private flush(): void {
    window.clearTimeout(this.flushing)
    this.flushing = 0
    const changes = this.queue
    this.queue = []
    if (changes.length) for (const part of this.options.parts) part.apply(changes)
  }

  private step(event: FeedEvent): void {
    this.feed.value = nextFeed(this.feed.value, event, nowMs())
  }
}

function retryAfter(outcomes: readonly Outcome[]): number | null {
  const told = outcomes.flatMap(({ problem }) => problem?.retryAfterS ?? [])
  return told.length ? Math.max(...told) : null
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}
