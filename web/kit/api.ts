/** Reads JSON of the services. What goes wrong comes as a ProblemError with words to show. */

import type { Problem } from './types.ts'

const DEADLINE_MS = 15_000
const LONGEST_RETRY_AFTER_S = 600

export class ProblemError extends Error {
  readonly status: number // 0: no answer at all
  readonly retryAfterS: number | null // what a 429 or a 503 said

  constructor(text: string, status: number, retryAfterS: number | null = null) {
    super(text)
    this.status = status
    this.retryAfterS = retryAfterS
  }
}

export async function getJson<T>(path: string): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(DEADLINE_MS), headers: { accept: 'application/json' } })
  } catch {
    throw new ProblemError('', 0)
  }
  if (!answer.ok) throw await problemOf(answer)
  try {
    return (await answer.json()) as T
  } catch {
    throw new ProblemError('', 0)
  }
}

/** A problem document's words; a balancer's answer may be none. */
export async function problemOf(answer: Response): Promise<ProblemError> {
  const problem = await (answer.json() as Promise<Partial<Problem> | null>).catch(() => null)
  const text = [problem?.title, problem?.detail].filter(Boolean).join(': ') || `HTTP ${answer.status}`
  return new ProblemError(text, answer.status, retryAfter(problem?.retry_after_s ?? answer.headers.get('retry-after')))
}

function retryAfter(told: unknown): number | null {
  const seconds = told === null || told === '' ? NaN : Number(told)
  return seconds >= 0 ? Math.min(seconds, LONGEST_RETRY_AFTER_S) : null
}
