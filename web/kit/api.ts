/** Reads JSON of the services. What goes wrong comes as a ProblemError with words to show. */

import type { Problem } from './types.ts'

const DEADLINE_MS = 15_000

export class ProblemError extends Error {
  readonly status: number // 0: no answer at all

  constructor(text: string, status: number) {
    super(text)
    this.status = status
  }
}

export async function getJson<T>(path: string): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(DEADLINE_MS), headers: { accept: 'application/json' } })
  } catch {
    throw new ProblemError('', 0)
  }
  if (!answer.ok) throw new ProblemError(await told(answer), answer.status)
  try {
    return (await answer.json()) as T
  } catch {
    throw new ProblemError('', 0)
  }
}

async function told(answer: Response): Promise<string> {
  try {
    const problem = (await answer.json()) as Partial<Problem>
    return [problem.title, problem.detail].filter(Boolean).join(': ') || `HTTP ${answer.status}`
  } catch {
    return `HTTP ${answer.status}`
  }
}
