import { useEffect, useState } from 'preact/hooks'
import { now } from '../kit/clock.ts'
import { chancePercent } from '../kit/format.ts'
import { number, t } from '../kit/i18n.ts'
import { emptyResource } from '../kit/live.ts'
import { Block } from '../kit/problem.tsx'
import { readInto } from '../kit/resource.ts'
import { cityTime } from '../kit/time.ts'
import type { Availability, Expected } from '../kit/types.ts'

const MINUTES = [15, 30, 60, 120, 240, 480, 1440] as const

/** The chance of a space when one arrives: read when a time is chosen. */
export function Arrival({ placeId }: { placeId: string }) {
  const [minutes, choosing] = useState(0)
  const [resource] = useState(() => emptyResource<Availability>())
  const read = () => {
    const at = new Date(now.value + minutes * 60_000).toISOString()
    void readInto(resource, [`/parking/v1/places/${encodeURIComponent(placeId)}/availability?at=${at}`])
  }
  useEffect(() => {
    if (minutes) read()
  }, [minutes])
  return (
    <div class="arrival" data-testid="arrival">
      <label>
        {t('arrival.label')}{' '}
        <select value={minutes} onChange={(event) => choosing(Number(event.currentTarget.value))}>
          <option value={0}>{t('arrival.choose')}</option>
          {MINUTES.map((each) => (
            <option key={each} value={each}>
              {each < 60 ? t('arrival.minutes', { n: each }) : t('arrival.hours', { n: each / 60 })}
            </option>
          ))}
        </select>
      </label>
      {minutes > 0 && (
        <Block what={t('arrival.label')} of={resource} retry={read}>
          {(told) => <p class="shown-forecast">{text(told)}</p>}
        </Block>
      )}
    </div>
  )
}

function text({ at, freshness, free, chance }: Availability): string {
  const time = cityTime(Date.parse(at), 'minute')
  if (freshness === 'closed') return t('arrival.closed', { time })
  return free === null || chance === null ? t('arrival.nothing', { time }) : t('arrival.expected', { time, ...expectedWords({ free, chance }) })
}

/** The numbers of what is expected, as texts have them. */
export function expectedWords({ free, chance }: Expected): Record<string, string | number> {
  return { free: number(Math.round(free.mean)), low: number(Math.floor(free.low)), high: number(Math.ceil(free.high)), chance: chancePercent(chance) }
}
