/** What a block of a page shows, and how it is read. */

import { getJson, ProblemError } from './api.ts'

/** Its value (of before, while it cannot be read), or why there is none. */
export interface Resource<T> {
  value: T | null
  problem: ProblemError | null
}

/** A signal of it, or anything that holds one. */
export interface Held<T> {
  value: Resource<T>
}

export type Read = (path: string) => Promise<unknown>

const newest = new WeakMap<object, symbol>()

/**
 * Reads the first path that answers. When none does, the value of before stays, with the problem beside it.
 * An answer that comes after another reading has begun is not shown: it may be that of another question.
 */
export async function readInto<T>(held: Held<T>, paths: readonly string[], take: (answer: unknown) => T = (answer) => answer as T, read: Read = getJson): Promise<void> {
  const turn = Symbol()
  newest.set(held, turn)
  let problem: ProblemError | null = null
  for (const path of paths) {
    try {
      const value = take(await read(path))
      if (newest.get(held) === turn) held.value = { value, problem: null }
      return
    } catch (error) {
      problem = asProblem(error)
    }
  }
  if (newest.get(held) === turn) held.value = { ...held.value, problem }
}

export function asProblem(error: unknown): ProblemError {
  return error instanceof ProblemError ? error : new ProblemError(String(error), 0)
}
