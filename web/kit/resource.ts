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

/** Reads the first path that answers. When none does, the value of before stays, with the problem beside it. */
export async function readInto<T>(held: Held<T>, paths: readonly string[], take: (answer: unknown) => T = (answer) => answer as T, read: Read = getJson): Promise<void> {
  let problem: ProblemError | null = null
  for (const path of paths) {
    try {
      held.value = { value: take(await read(path)), problem: null }
      return
    } catch (error) {
      problem = asProblem(error)
    }
  }
  held.value = { ...held.value, problem }
}

export function asProblem(error: unknown): ProblemError {
  return error instanceof ProblemError ? error : new ProblemError(String(error), 0)
}
