/** One part of a service's numbers: its snapshot, and the events that change it. No signal, no DOM. */

import { getJson, type ProblemError } from './api.ts'
import { asProblem, type Held, type Read } from './resource.ts'

/** An event on its way into the page's numbers; several of one moment are applied together. */
export interface Change {
  name: string
  data: unknown
}

export interface PartOptions<A, T> {
  path: string
  into: Held<T>
  take: (answer: A, before: T | null) => T
  event?: string // what changes it
  apply?: (value: T, told: readonly unknown[]) => T // the same thing told twice changes nothing
  asOf?: (answer: A) => string // of when the answer is, where replicas answer from memory
  size?: (value: T) => number // how many things a step goes over
  again?: boolean // read again from time to time: not all that changes it is told by the stream
}

export interface Outcome {
  problem: ProblemError | null
  asOfMs: number | null
}

/** What `Live` does with a part, whatever it holds. */
export interface AnyPart {
  readonly event: string | undefined
  readonly again: boolean
  size(): number
  read(): Promise<Outcome>
  refresh(): Promise<Outcome>
  hear(change: Change): void
  apply(changes: readonly Change[]): void
}

export class Part<A, T> implements AnyPart {
  readonly event: string | undefined
  readonly again: boolean
  private readonly options: PartOptions<A, T>
  private readonly get: Read
  private newest = 0 // of several readings the one that began last is taken
  private running: Promise<Outcome> | null = null
  private sinceReading: Change[] | null = null // what came while a snapshot is on its way

  constructor(options: PartOptions<A, T>, get: Read = getJson) {
    this.options = options
    this.event = options.event
    this.again = options.again ?? false
    this.get = get
  }

  size(): number {
    const { value } = this.options.into.value
    return value === null ? 0 : (this.options.size?.(value) ?? 0)
  }

  /** A reading that another one overtakes answers what that one answers. */
  read(): Promise<Outcome> {
    return this.begin((problem) => (this.options.into.value = { ...this.options.into.value, problem }))
  }

  /** As `read`, but what is shown stays as it is when it fails. */
  refresh(): Promise<Outcome> {
    return this.begin(() => {})
  }

  hear(change: Change): void {
    if (change.name === this.event) this.sinceReading?.push(change)
  }

  apply(changes: readonly Change[]): void {
    const { value } = this.options.into.value
    if (value === null) return
    const changed = this.changed(value, changes)
    if (changed !== value) this.options.into.value = { value: changed, problem: this.options.into.value.problem }
  }

  private begin(failed: (problem: ProblemError) => void): Promise<Outcome> {
    this.running = this.readOnce(++this.newest, failed)
    return this.running
  }

  private async readOnce(mine: number, failed: (problem: ProblemError) => void): Promise<Outcome> {
    const { path, into, take, asOf } = this.options
    this.sinceReading = []
    try {
      const answer = (await this.get(path)) as A
      if (mine !== this.newest) return await this.overtaken()
      // at once, not when the slowest part is read: what was told meanwhile is newer than the answer
      into.value = { value: this.changed(take(answer, into.value.value), this.sinceReading), problem: null }
      this.sinceReading = null
      return { problem: null, asOfMs: asOf ? Date.parse(asOf(answer)) : null }
    } catch (error) {
      if (mine !== this.newest) return this.overtaken()
      this.sinceReading = null
      const problem = asProblem(error)
      failed(problem)
      return { problem, asOfMs: null }
    }
  }

  private overtaken(): Promise<Outcome> {
    return this.running ?? Promise.resolve({ problem: null, asOfMs: null })
  }

  private changed(value: T, changes: readonly Change[]): T {
    const told = changes.filter((change) => change.name === this.event).map((change) => change.data)
    return told.length && this.options.apply ? this.options.apply(value, told) : value
  }
}
