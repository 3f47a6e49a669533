/** Rows in order and rows that fit. Pure. */

export type Direction = 'ascending' | 'descending'

/** By a value of each; what has none comes last whichever way it goes, equal ones stay as they were. */
export function sorted<T>(rows: readonly T[], by: (row: T) => string | number | null, direction: Direction): T[] {
  const sign = direction === 'ascending' ? 1 : -1
  return rows
    .map((row) => [by(row), row] as const)
    .sort(([a], [b]) => {
      if (a === null || b === null) return Number(a === null) - Number(b === null)
      if (typeof a === 'string' && typeof b === 'string') return sign * a.localeCompare(b, 'zh-CN')
      return sign * (Number(a) - Number(b))
    })
    .map(([, row]) => row)
}

/** Whether any of the texts has all words of what was typed. */
export function fits(typed: string, texts: readonly (string | null | undefined)[]): boolean {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean)
  const text = texts.filter(Boolean).join(' ').toLowerCase()
  return words.every((word) => text.includes(word))
}
