import { useEffect, useRef, useState } from 'preact/hooks'
import { Icon } from '../kit/icons.tsx'
import { t } from '../kit/i18n.ts'
import type { CityMap } from '../kit/map/city-map.ts'
import { baseMap, readGround } from './city.ts'
import { Legend } from './legend.tsx'
import { connect } from './map-link.ts'
import { Selection } from './selection.tsx'

/** The map, opened after the lists are on screen; its code comes as a file of its own. */
export function MapSection() {
  const target = useRef<HTMLDivElement>(null)
  const [map, setMap] = useState<CityMap | null>(null)
  const [failed, setFailed] = useState(false)
  useEffect(() => {
    let opened: CityMap | null = null
    let gone = false
    let disconnect = () => {}
    const open = async () => {
      try {
        void readGround()
        const { CityMap } = await import('../kit/map/city-map.ts')
        if (gone || !target.current) return
        opened = new CityMap(target.current)
        disconnect = connect(opened)
        setMap(opened)
      } catch {
        setFailed(true)
      }
    }
    const waiting = whenIdle(() => void open())
    return () => {
      gone = true
      waiting()
      disconnect()
      opened?.dispose()
    }
  }, [])
  return (
    <section class="map-section" aria-labelledby="map-title">
      <h2 id="map-title" class="visually-hidden">
        {t('map.title')}
      </h2>
      <div class="map-frame">
        <section class="map" ref={target} tabIndex={0} aria-label={t('map.label')} data-testid="map" data-ready={map ? 'true' : 'false'} />
        {!map && <p class="map-note">{t(failed ? 'map.failed' : 'map.loading')}</p>}
        {map && <Buttons map={map} />}
        {map && baseMap.value.problem && <p class="map-note map-note-low">{t('map.noBase')}</p>}
        <Selection />
      </div>
      <Legend />
    </section>
  )
}

function Buttons({ map }: { map: CityMap }) {
  return (
    <div class="map-buttons">
      <button type="button" aria-label={t('map.zoomIn')} title={t('map.zoomIn')} onClick={() => map.zoom(1)}>
        <Icon name="plus" />
      </button>
      <button type="button" aria-label={t('map.zoomOut')} title={t('map.zoomOut')} onClick={() => map.zoom(-1)}>
        <Icon name="minus" />
      </button>
      <button type="button" aria-label={t('map.fit')} title={t('map.fit')} onClick={() => map.fit()}>
        <Icon name="fit" />
      </button>
    </div>
  )
}

/** After the first lists are painted; answers how to call it off. */
function whenIdle(call: () => void): () => void {
  if ('requestIdleCallback' in window) {
    const handle = requestIdleCallback(call, { timeout: 1_000 })
    return () => cancelIdleCallback(handle)
  }
  const handle = setTimeout(call, 200)
  return () => clearTimeout(handle)
}
