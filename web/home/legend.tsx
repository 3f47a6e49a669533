import { t } from '../kit/i18n.ts'
import { Sign } from '../kit/sign.tsx'
import { StreamLine } from '../kit/stream-line.tsx'
import { STREAMS } from '../kit/streams.ts'
import { hiddenLayers, routes } from './city.ts'
import type { ComponentChildren } from 'preact'

const FRESHNESS = ['live', 'late', 'forecast', 'unknown', 'closed'] as const

/** What the signs mean; each kind can be hidden. */
export function Legend() {
  const streams = STREAMS.filter((stream) => stream !== 'construction' || routes.value.value?.plans.some((plan) => plan.stream === stream))
  return (
    <div class="legend">
      <fieldset>
        <legend class="visually-hidden">{t('map.legend')}</legend>
        <Toggle layer="place" label={t('legend.places')}>
          <Sign kind="place" shown="live" />
        </Toggle>
        <Toggle layer="station" label={t('legend.stations')}>
          <Sign kind="station" shown="live" />
        </Toggle>
        {streams.map((stream) => (
          <Toggle key={stream} layer={stream} label={t(`stream.${stream}`)}>
            <StreamLine stream={stream} />
          </Toggle>
        ))}
      </fieldset>
      <ul class="legend-signs" aria-label={t('legend.freshness')}>
        {FRESHNESS.map((shown) => (
          <li key={shown}>
            <Sign kind="place" shown={shown} />
            {shown !== 'forecast' && <Sign kind="station" shown={shown} />}
            {t(`shown.${shown}`)}
          </li>
        ))}
      </ul>
    </div>
  )
}

function Toggle({ layer, label, children }: { layer: string; label: string; children: ComponentChildren }) {
  const turn = () => {
    const next = new Set(hiddenLayers.value)
    if (!next.delete(layer)) next.add(layer)
    hiddenLayers.value = next
  }
  return (
    <label class="toggle">
      <input type="checkbox" checked={!hiddenLayers.value.has(layer)} onChange={turn} />
      {children}
      {label}
    </label>
  )
}
