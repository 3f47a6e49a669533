import { t } from '../kit/i18n.ts'
import { trendShape } from '../kit/trend-shape.ts'
import type { Indicator, Scheme } from '../kit/types.ts'
import { shownTarget, shownValue } from './figure-words.ts'
import { daysBetween } from '../kit/time.ts'

const FRAME = { width: 150, height: 40, pad: 3 }

/** What was published of each day, against the target and up to the deadline; the same in words. */
export function Trend({ indicator, scheme, today }: { indicator: Indicator; scheme: Scheme; today: string }) {
  const days = scheme.trend ?? []
  const known = days.filter((day) => day.value !== null)
  const [first, last] = [known[0], known.at(-1)]
  if (!first || !last) return <p class="small">{t('trend.none')}</p>
  const shape = trendShape(days, indicator.target.numerator / indicator.target.denominator, indicator.deadline, today, FRAME)
  const words = {
    days: daysBetween(days[0]?.on ?? today, today) + 1,
    n: known.length,
    from: shownValue(indicator, first),
    to: shownValue(indicator, last),
    target: shownTarget(indicator),
    deadline: indicator.deadline,
  }
  const text = t(known.length > 1 ? 'trend.text' : 'trend.one', words)
  return (
    <svg class="trend" viewBox={`0 0 ${FRAME.width} ${FRAME.height}`} role="img" aria-label={text}>
      <title>{text}</title>
      <line class="trend-target" x1="0" x2={FRAME.width} y1={shape.targetY} y2={shape.targetY} />
      {shape.deadlineX !== null && <line class="trend-deadline" x1={shape.deadlineX} x2={shape.deadlineX} y1="0" y2={FRAME.height} />}
      {shape.lines.map((points) => (
        <polyline key={points} class="trend-line" points={points} />
      ))}
      {shape.dots.map((dot) => (
        <circle key={dot.x} class="trend-dot" cx={dot.x} cy={dot.y} r="1.6" />
      ))}
      {shape.last && <circle class="trend-dot" cx={shape.last.x} cy={shape.last.y} r="2.6" />}
    </svg>
  )
}
