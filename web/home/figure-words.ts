/** A figure in words. */

import { locale, number, t, word } from '../kit/i18n.ts'
import { asProportion, isCount, percent, percentOf } from '../kit/format.ts'
import { headline, type Verdict } from '../kit/judging.ts'
import { daysBetween } from '../kit/time.ts'
import type { Figure, Indicator } from '../kit/types.ts'

const MISSING = {
  'no car park is known': 'missing.places',
  'no charging point is known': 'missing.points',
  'no registered vehicles are known': 'missing.vehicles',
  'nothing was weighed since the first of January': 'missing.weighed',
} as const

/** `14.8 %`, or the count against a milestone. No data is its own answer, never 0. */
export function shownValue(indicator: Indicator, figure: { numerator: number; denominator: number; value: string | null }): string {
  if (figure.value === null) return t('figures.noData')
  if (isCount(indicator.target)) return number(figure.numerator)
  return percent(figure, indicator.target, locale())
}

export function shownTarget(indicator: Indicator): string {
  const sign = indicator.better === 'higher' ? '≥' : '≤'
  if (isCount(indicator.target)) return `${sign} ${number(indicator.target.numerator)}`
  const proportion = asProportion(indicator.target)
  return `${sign} ${percentOf(indicator.target, locale())}${proportion && ` (${proportion})`}`
}

/** `1,204 / 8,211 bays`: what was counted. */
export function shownCounts(indicator: Indicator, figure: Figure): string {
  if (figure.value === null) return '—'
  if (isCount(indicator.target)) return `${number(figure.numerator)} ${word('unit', indicator.unit)}`
  return `${number(figure.numerator)} / ${number(figure.denominator)}`
}

export function shownGap(indicator: Indicator, figure: Figure): string {
  if (figure.gap === null) return t('figures.gapUnknown')
  if (figure.gap === 0) return t('figures.noGap')
  return t(indicator.better === 'higher' ? 'figures.gap' : 'figures.over', { n: number(figure.gap), unit: word('unit', indicator.unit) })
}

export function shownDeadline(indicator: Indicator, status: Verdict, today: string): string {
  const left = daysBetween(today, indicator.deadline)
  if (status === 'overdue') return t('figures.passed', { n: number(-left) })
  if (left < 0) return t('figures.ended')
  return left === 0 ? t('figures.dueToday') : t('figures.left', { n: number(left) })
}

export function shownVerdict(of: Verdict, better: 'higher' | 'lower'): string {
  return t(of === 'missed' && better === 'lower' ? 'status.missedLower' : `status.${of}`)
}

export function shownMissing(indicator: Indicator): string {
  const { missing } = headline(indicator)
  if (missing && missing in MISSING) return t(MISSING[missing as keyof typeof MISSING])
  return missing ?? t('missing.nothing')
}

export function shownTitle(thing: { title: string; title_zh: string }): string {
  return locale() === 'en' ? thing.title : thing.title_zh
}
