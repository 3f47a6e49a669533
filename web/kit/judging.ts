/** What a figure says against its target and its deadline, and which one to look at first. Pure. */

import type { Figure, Indicator, Scheme } from './types.ts'
import { daysBetween } from './time.ts'

/** `overdue` is missed behind the deadline. */
export type Verdict = 'overdue' | 'missed' | 'no_data' | 'not_judged' | 'met'

const IN_TROUBLE_FIRST: readonly Verdict[] = ['overdue', 'missed', 'no_data', 'not_judged', 'met']

export function verdict(figure: Pick<Figure, 'status'>, deadline: string, today: string): Verdict {
  return figure.status === 'missed' && daysBetween(deadline, today) > 0 ? 'overdue' : figure.status
}

/** How far from the target, as a part of it: 0 is reached, 1 is nothing yet. Without a value the worst. */
export function shortfall(figure: Figure, target: number, better: 'higher' | 'lower'): number {
  if (figure.value === null || target === 0) return 1
  const part = Number(figure.value) / target
  return Math.max(0, better === 'higher' ? 1 - part : part - 1)
}

/** A figure of the plan as closed and as known now; one of them is there. */
export interface Known {
  closed: Indicator | null
  provisional: Indicator | null
}

export function newest(known: Known): Indicator {
  const found = known.closed ?? known.provisional
  if (!found) throw new Error('a known figure is closed or provisional')
  return found
}

export function headline(indicator: Indicator): Scheme {
  const first = indicator.schemes[0]
  if (!first) throw new Error(`${indicator.name} has no scheme`)
  return first
}

/** Puts an answer or an event where it belongs; an older one never replaces a newer one. */
export function learn(known: Known | undefined, told: Indicator): Known {
  const before = known ?? { closed: null, provisional: null }
  const slot = told.provisional ? 'provisional' : 'closed'
  const held = before[slot]
  if (held && Date.parse(held.known_at) > Date.parse(told.known_at)) return before
  return { ...before, [slot]: keepTrend(held, told) }
}

/** An event may come without the trend that the list had. */
function keepTrend(held: Indicator | null, told: Indicator): Indicator {
  const trends = new Map(held?.schemes.map((scheme) => [scheme.id, scheme.trend]))
  return { ...told, schemes: told.schemes.map((scheme) => ({ ...scheme, trend: scheme.trend ?? trends.get(scheme.id) ?? null })) }
}

/** What is in trouble first: behind the deadline, then far from the target; what is met comes last. */
export function byTrouble(today: string): (a: Known, b: Known) => number {
  const rank = (known: Known): [number, number] => {
    const indicator = newest(known)
    const figure = headline(indicator)
    const place = IN_TROUBLE_FIRST.indexOf(verdict(figure, indicator.deadline, today))
    return [place, -shortfall(figure, indicator.target.numerator / indicator.target.denominator, indicator.better)]
  }
  return (a, b) => {
    const [x, y] = [rank(a), rank(b)]
    return x[0] - y[0] || x[1] - y[1] || newest(a).name.localeCompare(newest(b).name)
  }
}
