/** A service's numbers on a page: snapshot and stream kept together, broken off and caught up. */

import { type Signal, signal } from '@preact/signals'
import { getJson, ProblemError } from './api.ts'
import { nowMs, setClock } from './clock.ts'
import { type Feed, type FeedEvent, newFeed, nextFeed } from './feed.ts'
import { type EventSourceStream, sharedStream, type StreamTold } from './stream.ts'
import type { Service } from './types.ts'

/** What a block shows: its value (of before, while it is frozen), or why there is none. */
export interface Resource<T> {
  value: T | null
  problem: ProblemError | null
}

export interface Part<T> {
  path: string
  resource: Signal<Resource<T>>
  take: (answer: unknown) => T
}

/** An event on its way into the page's numbers; several of one moment are applied together. */
export interface Change {
  name: string
  data: unknown
}

export interface LiveOptions {
  service: Service
  parts: readonly Part<never>[]
  events: readonly string[]
  apply: (changes: readonly Change[]) => void
}

const OPEN_WITHIN_MS = 3_000 // a stream that does not open does not keep the numbers back
const TOGETHER_MS = 100
const READ_AGAIN_MS = [2_000, 5_000, 10_000] as const

export function emptyResource<T>(): Signal<Resource<T>> {
  return signal({ value: null, problem: null })
}

export class Live {
  readonly service: Service
  readonly feed: Signal<Feed> = signal(newFeed(nowMs()))
  private readonly options: LiveOptions
  private stream: EventSourceStream | null = null
  private reading = 0 // counts up: only the newest reading is taken
  private failures = 0
  private later = 0
  private queue: Change[] = []
  private sinceReading: Change[] | null = null // events that came while a snapshot is on its way
  private flushing = 0

  constructor(options: LiveOptions) {
    this.service = options.service
    this.options = options
  }

  start(): void {
    this.stream = sharedStream(this.service, [...this.options.events, 'ping', 'reset'], (told) => this.hear(told))
    this.readLater(OPEN_WITHIN_MS)
  }

  /** Once a second: what is silent for too long is connected again. */
  tick(): void {
    const before = this.feed.value.streaming
    this.step({ kind: 'tick' })
    if (before && !this.feed.value.streaming) this.stream?.restart()
  }

  /** Reads the snapshot now; what cannot be read is tried again. */
  async read(): Promise<void> {
    window.clearTimeout(this.later)
    const mine = ++this.reading
    this.sinceReading = []
    const outcomes = await Promise.all(this.options.parts.map((part) => this.readPart(part, () => mine === this.reading)))
    if (mine !== this.reading) return
    this.options.apply(this.sinceReading)
    this.sinceReading = null
    const failed = outcomes.filter((outcome) => outcome !== null)
    if (failed.length < outcomes.length) this.step({ kind: 'read' })
    else this.step({ kind: 'failed', problem: failed[0]?.message || 'network' })
    this.failures = failed.length ? this.failures + 1 : 0
    if (failed.length) this.readLater(READ_AGAIN_MS[Math.min(this.failures, READ_AGAIN_MS.length) - 1] ?? 10_000)
  }

  private async readPart(part: Part<never>, isNewest: () => boolean): Promise<ProblemError | null> {
    try {
      const answer = await getJson<unknown>(part.path)
      if (isNewest()) part.resource.value = { value: part.take(answer), problem: null }
      return null
    } catch (error) {
      const problem = error instanceof ProblemError ? error : new ProblemError(String(error), 0)
      if (isNewest()) part.resource.value = { ...part.resource.value, problem }
      return problem
    }
  }

  private readLater(afterMs: number): void {
    window.clearTimeout(this.later)
    this.later = window.setTimeout(() => void this.read(), afterMs)
  }

  private hear(told: StreamTold): void {
    if (told.kind === 'error') {
      this.step({ kind: 'error' })
      if (!this.feed.value.hasNumbers) this.readLater(0)
      return
    }
    if (told.kind === 'open') {
      this.step({ kind: 'open' })
      void this.read() // from here on the stream tells everything: nothing falls between
      return
    }
    const wasStreaming = this.feed.value.streaming
    this.step({ kind: 'heard' })
    if (told.name === 'reset' || !wasStreaming) void this.read()
    if (told.name === 'reset') return
    const data = parsed(told.data)
    if (data === undefined) return
    if (told.name === 'ping') setClock((data as { at: string }).at)
    else this.enqueue({ name: told.name, data })
  }

  private enqueue(change: Change): void {
    this.sinceReading?.push(change)
    this.queue.push(change)
    if (this.flushing) return
    this.flushing = window.setTimeout(() => {
      this.flushing = 0
      const changes = this.queue
      this.queue = []
      this.options.apply(changes)
    }, TOGETHER_MS)
  }

  private step(event: FeedEvent): void {
    this.feed.value = nextFeed(this.feed.value, event, nowMs())
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}
