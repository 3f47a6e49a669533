/** When the routes of the day are read again: a plan of the day changed, or another day began. No signal, no DOM. */

import type { PlanChanged } from './types.ts'
import { backOff, between } from './waits.ts'

const HOLDS_OR_HELD = ['published', 'superseded', 'withdrawn']
const CHANGED_WITHIN_MS = 600 // a publication is told to all clients at once, and is to be seen within 2 s
const MIDNIGHT_WITHIN_MS = 10_000 // and midnight comes to all of them

/** A plan that is only searched, or is of another day, changes no route of today. */
export function asksForRoutes(told: PlanChanged, today: string): boolean {
  return told.on === today && HOLDS_OR_HELD.includes(told.state)
}

export class DayWatch {
  private readonly read: () => Promise<void>
  private readonly random: () => number
  private waiting = false
  private day = ''
  private tries = 0
  private nextAt = 0

  constructor(read: () => Promise<void>, random: () => number = Math.random) {
    this.read = read
    this.random = random
  }

  /** Several changes of a moment are one reading. */
  changed(): void {
    if (this.waiting) return
    this.waiting = true
    const call = () => {
      this.waiting = false
      void this.read()
    }
    setTimeout(call, between(0, CHANGED_WITHIN_MS, this.random))
  }

  /** Once a second: routes of another day than today are read again until they are today's. */
  tick(on: string | null, today: string, at: number): void {
    if (on === null || on === today) {
      this.day = ''
      return
    }
    if (this.day !== today) {
      this.day = today
      this.tries = 0
      this.nextAt = at + between(0, MIDNIGHT_WITHIN_MS, this.random)
    }
    if (at < this.nextAt) return
    this.tries += 1
    this.nextAt = at + backOff(this.tries, null, this.random)
    void this.read()
  }
}
