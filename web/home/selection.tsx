import type { ComponentChildren } from 'preact'
import { Age } from '../kit/age.tsx'
import { type Count, placeCount, placeShown, type Shown, stationShown, stationView } from '../kit/availability.ts'
import { now } from '../kit/clock.ts'
import { kilometres, plainName } from '../kit/format.ts'
import { Icon } from '../kit/icons.tsx'
import { locale, named, number, t, word } from '../kit/i18n.ts'
import { Sign } from '../kit/sign.tsx'
import { Free } from '../kit/free.tsx'
import { StreamLine } from '../kit/stream-line.tsx'
import type { Kind } from '../kit/symbols.ts'
import { cityTime } from '../kit/time.ts'
import type { Expected, Forecast, Place, Plan, Route, Station } from '../kit/types.ts'
import { Arrival, expectedWords } from './arrival.tsx'
import { charging, choose, chosen, parking, places, routeId, routes, stations } from './city.ts'
import type { Thing } from './shown-list.tsx'
import { SampleTag } from './thing-name.tsx'

/** What is known of the chosen thing. */
export function Selection() {
  const what = chosen.value
  if (!what) return null
  const found = what.kind === 'place' ? ofPlace(what.id) : what.kind === 'station' ? ofStation(what.id) : ofRoute(what.id)
  return (
    <aside class="selection" aria-label={t('selection.title')} data-testid="selection">
      <button type="button" class="selection-close" aria-label={t('selection.close')} title={t('selection.close')} onClick={() => choose(null)}>
        <Icon name="close" />
      </button>
      {found}
    </aside>
  )
}

function ofPlace(id: string): ComponentChildren {
  const place = places.value.value?.items.get(id)
  return place && <PlaceFacts place={place} />
}

function ofStation(id: string): ComponentChildren {
  const station = stations.value.value?.items.get(id)
  return station && <StationFacts station={station} />
}

function ofRoute(id: string): ComponentChildren {
  for (const plan of routes.value.value?.plans ?? []) {
    const route = plan.routes.find((each) => routeId(plan.plan_id, each.truck) === id)
    if (route) return <RouteFacts plan={plan} route={route} />
  }
  return null
}

function Head({ kind, shown, of }: { kind: Kind; shown: Shown; of: Thing }) {
  return (
    <h3>
      <Sign kind={kind} shown={shown} />
      {plainName(named(of), of.invented)} {of.invented && <SampleTag />}
    </h3>
  )
}

function CountNow({ count, shown, at }: { count: Count | null; shown: Shown; at: string | number | null }) {
  return (
    <p class="selection-count">
      <Free count={count} shown={shown} />
      <span class={`shown shown-${shown}`}>{t(`shown.${shown}`)}</span>
      <Age at={at} />
    </p>
  )
}

function PlaceFacts({ place }: { place: Place }) {
  const shown = placeShown(place, parking.feed.value.phase !== 'live')
  return (
    <>
      <Head kind="place" shown={shown} of={place} />
      <p class="sub">
        {[word('kind', place.kind), word('access', place.access), place.address].filter(Boolean).join(' · ')}
      </p>
      {place.state !== 'open' && <p class="warn">{place.closed_until ? t('selection.closedUntil', { time: clock(place.closed_until) }) : t('selection.closed')}</p>}
      <CountNow count={placeCount(place)} shown={shown} at={place.as_of} />
      {shown === 'forecast' && place.forecast && <ForecastNow forecast={place.forecast} />}
      <Arrival key={place.id} placeId={place.id} />
      <ul class="plain">
        {Object.entries(place.capacity).map(([category, total]) => (
          <li key={category}>{shown === 'forecast' ? expectedText(category, place.forecast?.categories[category], total) : categoryText(category, place.free[category], total)}</li>
        ))}
        {place.charging && <li>{chargingText(place)}</li>}
        {place.closures.map((closure) => (
          <li key={closure.starts_at} class="warn">
            {t('selection.nextClosure', { from: clock(closure.starts_at), to: clock(closure.ends_at) })}
          </li>
        ))}
        {place.source && <li class="muted">{t('selection.source', { source: place.source })}</li>}
      </ul>
    </>
  )
}

/** Never like a count: the word, the bounds and the chance stand beside the number. */
function ForecastNow({ forecast }: { forecast: Forecast }) {
  return (
    <div data-testid="forecast">
      <p class="shown-forecast">{t('selection.forecast', expectedWords(forecast))}</p>
      <p class="sub">{t('selection.forecastSince', { time: clock(forecast.since) })}</p>
    </div>
  )
}

/** Beside a forecast an old count would look like one: what nothing is expected of is not counted. */
function expectedText(category: string, expected: Expected | undefined, total: number): string {
  if (!expected) return categoryText(category, undefined, total)
  return t('selection.expected', { category: word('category', category), total: number(total), ...expectedWords(expected) })
}

function categoryText(category: string, free: number | undefined, total: number): string {
  const words = { category: word('category', category), total: number(total) }
  return free === undefined ? t('selection.notCounted', words) : t('selection.free', { ...words, free: number(free) })
}

function chargingText({ charging }: Place): string {
  const shown = (count: number | null | undefined) => (count === null || count === undefined ? t('places.unknown') : number(count))
  return t('selection.charging', { bays: shown(charging?.bays), working: shown(charging?.working), free: shown(charging?.free) })
}

function StationFacts({ station }: { station: Station }) {
  const shown = stationShown(station, now.value, charging.feed.value.phase !== 'live')
  const view = stationView(station, now.value)
  const place = station.place_id ? places.value.value?.items.get(station.place_id) : undefined
  return (
    <>
      <Head kind="station" shown={shown} of={station} />
      <p class="sub">
        {word('access', station.access)} · {t('selection.operator', { id: station.operator_id })}
      </p>
      {station.state !== 'open' && <p class="warn">{t('selection.closed')}</p>}
      <CountNow count={view.count} shown={shown} at={view.heardMs} />
      <ul class="plain">
        {view.statuses.map(([status, n]) => (
          <li key={status}>{t('selection.evses', { status: word('evse', status), n })}</li>
        ))}
        {place && (
          <li>
            <button type="button" class="link" onClick={() => choose({ kind: 'place', id: place.id })}>
              {t('selection.inPlace', { name: plainName(named(place), place.invented) })}
            </button>
          </li>
        )}
      </ul>
    </>
  )
}

function RouteFacts({ plan, route }: { plan: Plan; route: Route }) {
  return (
    <>
      <h3>
        <StreamLine stream={plan.stream} />
        {t(`stream.${plan.stream}`)} {route.truck}
      </h3>
      <p>{t('selection.hours', { from: clock(route.starts_at), to: clock(route.ends_at) })}</p>
      <ul class="plain">
        <li>{t('selection.route', { stops: route.stops, trips: route.trips, km: kilometres(route.distance_m, locale()) })}</li>
        <li class="muted">{t(`selection.travel.${route.travel}`)}</li>
        <li class="muted">
          {t('routes.version', { n: plan.version })} · <Age at={plan.published_at} />
        </li>
      </ul>
    </>
  )
}

function clock(at: string): string {
  return cityTime(Date.parse(at), 'minute')
}
