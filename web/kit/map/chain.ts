/** Joins the pieces of a street to long lines, so that its name fits along it. Pure. */

export type Lonlat = [number, number]

export interface Street {
  name: string
  line: Lonlat[]
}

/** Pieces of the same name that meet end to end become one; where three meet, two of them. */
export function chained(pieces: readonly Street[]): Street[] {
  const byName = new Map<string, Lonlat[][]>()
  for (const piece of pieces) {
    const known = byName.get(piece.name)
    if (known) known.push(piece.line)
    else byName.set(piece.name, [piece.line])
  }
  return [...byName].flatMap(([name, lines]) => joined(lines).map((line) => ({ name, line })))
}

function joined(lines: readonly Lonlat[][]): Lonlat[][] {
  const left = lines.filter((line) => line.length > 1).map((line) => [...line])
  const done: Lonlat[][] = []
  for (let line = left.pop(); line; line = left.pop()) {
    let grown: Lonlat[] | null = line
    while (grown) {
      line = grown
      grown = grow(line, left)
    }
    done.push(line)
  }
  return done
}

/** The line with one of the others at one of its ends (taken out of them), or null when none meets it. */
function grow(line: Lonlat[], others: Lonlat[][]): Lonlat[] | null {
  for (const [number, other] of others.entries()) {
    const longer = together(line, other)
    if (longer) {
      others.splice(number, 1)
      return longer
    }
  }
  return null
}

function together(a: Lonlat[], b: Lonlat[]): Lonlat[] | null {
  if (same(a.at(-1), b[0])) return [...a, ...b.slice(1)]
  if (same(b.at(-1), a[0])) return [...b, ...a.slice(1)]
  if (same(a.at(-1), b.at(-1))) return [...a, ...b.toReversed().slice(1)]
  if (same(a[0], b[0])) return [...b.toReversed(), ...a.slice(1)]
  return null
}

function same(a: Lonlat | undefined, b: Lonlat | undefined): boolean {
  return a !== undefined && b !== undefined && a[0] === b[0] && a[1] === b[1]
}
