import { t } from '../kit/i18n.ts'
import { Tabs } from '../kit/tabs.tsx'
import { places, routes, stations, tab, today } from './city.ts'
import { PlacesList } from './places-list.tsx'
import { RoutesList } from './routes-list.tsx'
import { StationsList } from './stations-list.tsx'

/** Everything that the map shows, as tables. */
export function Lists() {
  const counts = {
    places: places.value.value?.items.size,
    stations: stations.value.value?.items.size,
    routes: routes.value.value?.plans.reduce((all, plan) => all + plan.routes.length, 0),
  }
  const on = routes.value.value?.on ?? today.value
  const name = (id: keyof typeof counts) => (id === 'routes' && on !== today.value ? t('routes.on', { date: on }) : t(`tables.${id}`))
  const label = (id: keyof typeof counts) => (
    <>
      {name(id)} {counts[id] !== undefined && <span class="tab-count">{counts[id]}</span>}
    </>
  )
  return (
    <section class="lists" aria-label={t('tables.label')}>
      <Tabs
        label={t('tables.label')}
        active={tab.value}
        show={(id) => (tab.value = id)}
        tabs={[
          { id: 'places', label: label('places'), panel: <PlacesList /> },
          { id: 'stations', label: label('stations'), panel: <StationsList /> },
          { id: 'routes', label: label('routes'), panel: <RoutesList /> },
        ]}
      />
    </section>
  )
}
