/** The instant that ages are counted to: this computer's clock, put right by what a service said. */

import { signal } from '@preact/signals'
import { clockSkew } from './time.ts'

const TICK_MS = 1_000
const AGE_MS = 5_000

let skew = 0

export function nowMs(): number {
  return Date.now() + skew
}

/** Steps every few seconds: ages are in minutes. */
export const now = signal(nowMs())

export function setClock(told: string): void {
  const at = Date.parse(told)
  if (!Number.isNaN(at)) skew = clockSkew(at, Date.now())
}

/** Calls every second; the page's one timer. */
export function everySecond(call: () => void): void {
  let ticks = 0
  setInterval(() => {
    ticks += TICK_MS
    if (ticks >= AGE_MS) {
      ticks = 0
      now.value = nowMs()
    }
    call()
  }, TICK_MS)
}
