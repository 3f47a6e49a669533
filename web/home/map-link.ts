/** Keeps the map and the lists saying the same: both read the same signals. */

import { effect } from '@preact/signals'
import { placeCount, placeShown, stationCount, stationShown } from '../kit/availability.ts'
import { now } from '../kit/clock.ts'
import { language } from '../kit/i18n.ts'
import type { CityMap, MapPoint, MapRoute } from '../kit/map/city-map.ts'
import { isDark } from '../kit/theme.ts'
import type { Place, Station } from '../kit/types.ts'
import { baseMap, charging, choose, chosen, districts, hiddenLayers, parking, places, routeId, routes, stations } from './city.ts'

export function connect(map: CityMap): () => void {
  map.onChoose = (kind, id) => choose(kind && id !== null ? { kind, id } : null)
  const stops = [
    effect(() => {
      void isDark.value
      map.paint()
    }),
    effect(() => map.setBase(baseMap.value.value, language.value)),
    effect(() => map.setDistricts(districts.value.value, language.value)),
    effect(() => map.setPoints('place', [...(places.value.value?.items.values() ?? [])].map(placePoint))),
    effect(() => map.setPoints('station', [...(stations.value.value?.items.values() ?? [])].map(stationPoint))),
    effect(() => map.setRoutes(mapRoutes())),
    effect(() => map.hide(hiddenLayers.value)),
    effect(() => map.choose(chosen.value)),
  ]
  return () => stops.forEach((stop) => stop())
}

function placePoint(place: Place): MapPoint {
  const frozen = parking.feed.value.phase !== 'live'
  return { id: place.id, at: place.position, shown: placeShown(place, frozen), free: placeCount(place)?.free ?? null, of: null, beside: false }
}

function stationPoint(station: Station): MapPoint {
  const frozen = charging.feed.value.phase !== 'live'
  const shown = stationShown(station, now.value, frozen)
  const count = stationCount(station, now.value)
  return { id: station.id, at: station.position, shown, free: count?.free ?? null, of: count?.total ?? null, beside: station.place_id !== null }
}

function mapRoutes(): MapRoute[] {
  return (routes.value.value?.plans ?? []).flatMap((plan) =>
    plan.routes.map((route) => ({ id: routeId(plan.plan_id, route.truck), stream: plan.stream, line: route.line })),
  )
}
