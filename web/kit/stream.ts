/**
 * One event stream of a service, shared by the tabs of a browser: HTTP/1.1 has six connections a host, and a tab needs three
 * streams. The tab that holds the lock has the connection and tells the others what came.
 */

import type { Service } from './types.ts'

export type StreamTold = { kind: 'open' } | { kind: 'error' } | { kind: 'event'; name: string; data: string }
export type Tell = (told: StreamTold) => void

type Passed = StreamTold | { kind: 'who'; from: string } | { kind: 'here'; open: boolean; to: string }

const FIRST_WAIT_MS = [1_000, 3_000] as const // spread, so that a server's clients do not all come at once
const LONGEST_WAIT_MS = 6_000

export interface EventSourceStream {
  restart(): void
}

export function sharedStream(service: Service, names: readonly string[], tell: Tell): EventSourceStream {
  const url = `/${service}/v1/stream`
  if (!('locks' in navigator) || typeof BroadcastChannel === 'undefined') return new OwnStream(url, names, tell)
  return new SharedStream(service, url, names, tell)
}

class OwnStream implements EventSourceStream {
  private source: EventSource | null = null
  private failures = 0
  private retry = 0
  open = false
  private readonly url: string
  private readonly names: readonly string[]
  private readonly tell: Tell

  constructor(url: string, names: readonly string[], tell: Tell) {
    this.url = url
    this.names = names
    this.tell = tell
    this.connect()
  }

  restart(): void {
    this.close()
    this.connect()
  }

  private connect(): void {
    const source = new EventSource(this.url)
    this.source = source
    source.onopen = () => {
      this.open = true
      this.tell({ kind: 'open' })
    }
    source.onerror = () => {
      this.open = false
      this.tell({ kind: 'error' })
      if (source.readyState !== EventSource.CLOSED || source !== this.source) return // the browser tries by itself, with its Last-Event-ID
      this.close()
      this.retry = window.setTimeout(() => this.connect(), this.wait())
    }
    for (const name of this.names) {
      source.addEventListener(name, (event: MessageEvent<string>) => {
        this.failures = 0
        this.tell({ kind: 'event', name, data: event.data })
      })
    }
  }

  private close(): void {
    window.clearTimeout(this.retry)
    this.source?.close()
    this.source = null
    this.open = false
  }

  private wait(): number {
    const [least, most] = FIRST_WAIT_MS
    const longer = 2 ** Math.max(0, this.failures++ - 3)
    return Math.min(LONGEST_WAIT_MS, (least + Math.random() * (most - least)) * longer)
  }
}

class SharedStream implements EventSourceStream {
  private readonly me = Math.random().toString(36).slice(2)
  private readonly channel: BroadcastChannel
  private readonly start: () => OwnStream
  private readonly tell: Tell
  private own: OwnStream | null = null

  constructor(service: Service, url: string, names: readonly string[], tell: Tell) {
    this.tell = tell
    this.channel = new BroadcastChannel(`cityloop-stream-${service}`)
    this.channel.onmessage = (event: MessageEvent<Passed>) => this.hear(event.data)
    this.start = () => new OwnStream(url, names, (told) => this.lead(told))
    this.channel.postMessage({ kind: 'who', from: this.me })
    void navigator.locks.request(`cityloop-stream-${service}`, () => {
      this.own ??= this.start()
      return new Promise<never>(() => {}) // held until this tab is gone
    })
  }

  /** Without a word from the leading tab for too long, this one connects by itself. */
  restart(): void {
    if (this.own) this.own.restart()
    else this.own = this.start()
  }

  private lead(told: StreamTold): void {
    this.tell(told)
    this.channel.postMessage(told)
  }

  private hear(passed: Passed): void {
    if (passed.kind === 'who') {
      if (this.own) this.channel.postMessage({ kind: 'here', open: this.own.open, to: passed.from })
    } else if (this.own) {
      return // it hears for itself
    } else if (passed.kind === 'here') {
      if (passed.to === this.me) this.tell(passed.open ? { kind: 'open' } : { kind: 'error' })
    } else {
      this.tell(passed)
    }
  }
}
