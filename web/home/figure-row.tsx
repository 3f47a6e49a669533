import { VerdictIcon } from '../kit/icons.tsx'
import { t } from '../kit/i18n.ts'
import { headline, type Known, newest, verdict } from '../kit/judging.ts'
import { Changing } from '../kit/changing.tsx'
import { cityTime } from '../kit/time.ts'
import type { Indicator, Service } from '../kit/types.ts'
import { live, today } from './city.ts'
import { FigureBar } from './figure-bar.tsx'
import { FigureDetails } from './figure-details.tsx'
import { shownCounts, shownDeadline, shownGap, shownMissing, shownTarget, shownTitle, shownValue, shownVerdict } from './figure-words.ts'
import { Trend } from './trend.tsx'

/** One figure on one line: value, target, deadline, gap in units, trend; the rest on demand. */
export function FigureRow({ service, known }: { service: Service; known: Known }) {
  const indicator = newest(known)
  const figure = headline(indicator)
  const says = verdict(figure, indicator.deadline, today.value)
  const frozen = live[service].feed.value.phase !== 'live'
  return (
    <li class={`figure figure-${says}${frozen ? ' old' : ''}`} data-testid={`indicator-${indicator.name}`} data-status={says}>
      <div class="figure-line">
        <div class="figure-name">
          <p class={`verdict verdict-${says}`}>
            <VerdictIcon of={says} />
            {shownVerdict(says, indicator.better)}
          </p>
          <h3>{shownTitle(indicator)}</h3>
        </div>
        <div class="figure-value">
          <p class="big" data-testid={`indicator-${indicator.name}-value`}>
            <Changing value={shownValue(indicator, figure)} />
          </p>
          <p class="small">{figure.value === null ? shownMissing(indicator) : shownCounts(indicator, figure)}</p>
        </div>
        <div class="figure-target">
          <FigureBar indicator={indicator} figure={figure} says={says} />
          <p class="small">
            <span data-testid={`indicator-${indicator.name}-target`}>
              {t('figures.target')} {shownTarget(indicator)}
            </span>
            <span>{t('figures.deadline', { date: indicator.deadline })}</span>
          </p>
        </div>
        <div class="figure-gap">
          <p data-testid={`indicator-${indicator.name}-gap`}>{shownGap(indicator, figure)}</p>
          <p class="small">{shownDeadline(indicator, says, today.value)}</p>
        </div>
        <div class="figure-trend" data-testid={`indicator-${indicator.name}-trend`}>
          <Trend indicator={indicator} scheme={figure} today={today.value} />
        </div>
      </div>
      <div class="figure-foot">
        <p class="small">
          <span title={indicator.at}>{t('figures.at', { time: cityTime(Date.parse(indicator.at), 'minute') })}</span>
          <Provisional closed={known.closed} provisional={known.provisional} name={indicator.name} />
        </p>
        <FigureDetails service={service} indicator={indicator} />
      </div>
    </li>
  )
}

function Provisional({ closed, provisional, name }: { closed: Indicator | null; provisional: Indicator | null; name: string }) {
  if (!provisional) return null
  const shown = shownValue(provisional, headline(provisional))
  const time = cityTime(Date.parse(provisional.known_at))
  const same = closed !== null && shownValue(closed, headline(closed)) === shown
  return (
    <span class={same ? 'provisional' : 'provisional differs'} data-testid={`indicator-${name}-provisional`} title={t('figures.provisionalAt', { time })}>
      {t('figures.provisional', { value: shown })}
    </span>
  )
}
