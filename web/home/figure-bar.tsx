import { t } from '../kit/i18n.ts'
import type { Verdict } from '../kit/judging.ts'
import type { Figure, Indicator } from '../kit/types.ts'
import { shownTarget, shownValue } from './figure-words.ts'

const WIDTH = 160
const HEIGHT = 14
const TARGET_AT = 0.72 // of the width: all rows have their target at one place, so that they can be compared

/** The value against its target. */
export function FigureBar({ indicator, figure, says }: { indicator: Indicator; figure: Figure; says: Verdict }) {
  const target = indicator.target.numerator / indicator.target.denominator
  const part = figure.value === null ? 0 : Math.min(1 / TARGET_AT, Number(figure.value) / target)
  const mark = WIDTH * TARGET_AT
  const text = t('figures.bar', { value: shownValue(indicator, figure), target: shownTarget(indicator) })
  return (
    <svg class={`bar bar-${says}`} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={text} preserveAspectRatio="none">
      <rect class="bar-ground" x="0" y="4" width={WIDTH} height="6" rx="3" />
      {figure.value !== null && <rect class="bar-value" x="0" y="4" width={Math.max(2, mark * part)} height="6" rx="3" />}
      <rect class="bar-target" x={mark - 1} y="0" width="2" height={HEIGHT} />
    </svg>
  )
}
