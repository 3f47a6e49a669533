/** The streets that routes use, each piece once: tours drive them up and down, and lines over lines hide each other. Pure. */

import type { Lonlat } from './chain.ts'

/**
 * Lines over every piece of the given ones exactly once. All run from west to east (south to north where that is the same), so
 * that lines of several networks drawn beside their street keep their side.
 */
export function network(lines: readonly (readonly Lonlat[])[]): Lonlat[][] {
  const pieces = new Map<string, [Lonlat, Lonlat]>()
  for (const line of lines) {
    for (let at = 1; at < line.length; at++) {
      const [a, b] = [line[at - 1], line[at]]
      if (!a || !b || key(a) === key(b)) continue
      const [from, to] = eastward(a, b) ? [a, b] : [b, a]
      pieces.set(`${key(from)} ${key(to)}`, [from, to])
    }
  }
  return strung([...pieces.values()])
}

/** Pieces strung end to start as far as they go. */
function strung(pieces: readonly [Lonlat, Lonlat][]): Lonlat[][] {
  const starting = new Map<string, [Lonlat, Lonlat][]>()
  const ends = new Set(pieces.map(([, to]) => key(to)))
  for (const piece of pieces) {
    const known = starting.get(key(piece[0]))
    if (known) known.push(piece)
    else starting.set(key(piece[0]), [piece])
  }
  const done: Lonlat[][] = []
  const fromHere = (start: Lonlat) => {
    for (let piece = straightest(starting, start); piece; piece = straightest(starting, start)) {
      const line = [...piece]
      for (let next = straightest(starting, piece[1], piece[0]); next; next = straightest(starting, next[1], next[0])) line.push(next[1])
      done.push(line)
    }
  }
  for (const [from] of pieces) if (!ends.has(key(from))) fromHere(from) // where something begins
  for (const [from] of pieces) fromHere(from) // what is left
  return done
}

/** Takes, of the pieces that start there, the one that turns least. */
function straightest(starting: Map<string, [Lonlat, Lonlat][]>, at: Lonlat, before?: Lonlat): [Lonlat, Lonlat] | null {
  const there = starting.get(key(at))
  if (!there?.length) return null
  let best = 0
  if (before) there.forEach((piece, number) => (best = turn(before, piece) < turn(before, there[best] ?? piece) ? number : best))
  return there.splice(best, 1)[0] ?? null
}

function turn(before: Lonlat, [at, to]: [Lonlat, Lonlat]): number {
  const turned = Math.atan2(to[1] - at[1], to[0] - at[0]) - Math.atan2(at[1] - before[1], at[0] - before[0])
  return Math.abs(Math.atan2(Math.sin(turned), Math.cos(turned)))
}

function eastward(a: Lonlat, b: Lonlat): boolean {
  return a[0] < b[0] || (a[0] === b[0] && a[1] <= b[1])
}

function key(at: Lonlat): string {
  return `${at[0]},${at[1]}`
}
