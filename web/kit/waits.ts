/** How long to wait before asking again: never all clients at one instant, never sooner than a service allows. Pure. */

const READ_AGAIN_MS = [2_000, 5_000, 10_000, 20_000, 30_000] as const

/** Something between three and five quarters of it. */
export function about(ms: number, random = Math.random): number {
  return ms * (0.75 + random() / 2)
}

export function between(least: number, most: number, random = Math.random): number {
  return least + random() * (most - least)
}

/** After so many failures on end (from 1); `retryAfterS` is what a 429 or a 503 said, and never undercut. */
export function backOff(failures: number, retryAfterS: number | null, random = Math.random): number {
  const own = READ_AGAIN_MS[Math.min(Math.max(failures, 1), READ_AGAIN_MS.length) - 1] ?? 30_000
  const least = Math.max(own, (retryAfterS ?? 0) * 1_000)
  return least * (1 + random() / 4)
}
