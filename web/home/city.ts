/** What the page knows of the city: one live feed a service, and the signals that lists and map both read. */

import { computed, type ReadonlySignal, type Signal, signal } from '@preact/signals'
import { knownStation, withStatus } from '../kit/availability.ts'
import { everySecond, now, nowMs } from '../kit/clock.ts'
import { byTrouble, type Known, learn } from '../kit/judging.ts'
import { emptyResource, Live } from '../kit/live.ts'
import { Part } from '../kit/part.ts'
import { readInto, type Resource } from '../kit/resource.ts'
import { asksForRoutes, DayWatch } from '../kit/routes-day.ts'
import { cityDay } from '../kit/time.ts'
import type {
  EvseChanged, Indicator, IndicatorList, Place, PlacesOverview, PlanChanged, RoutesToday, Service, Station, StationsOverview,
} from '../kit/types.ts'
import { whileSeen } from '../kit/while-seen.ts'

export interface Listed<T> {
  items: Map<string, T>
  truncated: boolean
}

export type Figures = Map<string, Known>

export const places = emptyResource<Listed<Place>>()
export const stations = emptyResource<Listed<Station>>()
export const routes = emptyResource<RoutesToday>()
export const figures: Record<Service, ReturnType<typeof emptyResource<Figures>>> = {
  parking: emptyResource(),
  charging: emptyResource(),
  waste: emptyResource(),
}
export const baseMap = emptyResource<object>()
export const districts = emptyResource<object>()

function figuresOf(service: Service): Part<IndicatorList, Figures> {
  return new Part<IndicatorList, Figures>({
    path: `/${service}/v1/indicators?provisional=true&closed=true&trend=30`,
    into: figures[service],
    take: (answer, before) => answer.indicators.reduce(learned, before ?? new Map()),
    event: 'indicator.changed',
    apply: (known, told) => (told as Indicator[]).reduce(learned, known),
  })
}

function learned(known: Figures, told: Indicator): Figures {
  return new Map(known).set(told.name, learn(known.get(told.name), told))
}

const figureParts = { parking: figuresOf('parking'), charging: figuresOf('charging'), waste: figuresOf('waste') }

const placesPart = new Part<PlacesOverview, Listed<Place>>({
  path: '/parking/v1/overview',
  into: places,
  take: (answer) => listed(answer.places, answer.truncated),
  event: 'place.changed',
  apply: (all, told) => changed(all, told as Place[], (items, place) => items.set(place.id, place)),
  asOf: (answer) => answer.as_of,
  size: (all) => all.items.size,
  again: true,
})

const stationsPart = new Part<StationsOverview, Listed<Station>>({
  path: '/charging/v1/overview',
  into: stations,
  take: (answer) => listed(answer.locations.map(knownStation), answer.truncated),
  event: 'evse.changed',
  apply: (all, told) => changed(all, told as EvseChanged[], changeEvse),
  asOf: (answer) => answer.as_of,
  size: (all) => pointsOf(all),
  again: true, // a report that says the same as before makes a number newer, and is no event
})

const routesPart = new Part<RoutesToday, RoutesToday>({ path: '/waste/v1/routes', into: routes, take: (answer) => answer })

export const parking = new Live({ service: 'parking', parts: [placesPart, figureParts.parking] })
export const charging = new Live({ service: 'charging', parts: [stationsPart, figureParts.charging] })
export const waste = new Live({
  service: 'waste',
  parts: [routesPart, figureParts.waste],
  also: { 'plan.changed': (told) => asksForRoutes(told as PlanChanged, cityDay(nowMs())) && routesDay.changed() },
})
const routesDay = new DayWatch(() => waste.readPart(routesPart))

export const services: readonly Live[] = [parking, charging, waste]
export const live: Record<Service, Live> = { parking, charging, waste }

/** The day of the city, for deadlines; steps at midnight. */
export const today = computed(() => cityDay(now.value))

export const figuresInOrder = computed(() => {
  const all = services.flatMap((each) =>
    [...(figures[each.service].value.value?.values() ?? [])].map((known) => ({ service: each.service, known })),
  )
  const order = byTrouble(today.value)
  return all.sort((a, b) => order(a.known, b.known))
})

export const hasSample = computed(() => anyInvented(places.value.value) || anyInvented(stations.value.value))

function anyInvented(all: Listed<{ invented: boolean }> | null): boolean {
  for (const each of all?.items.values() ?? []) if (each.invented) return true
  return false
}

/** What is chosen, in list and map alike. */
export interface Chosen {
  kind: 'place' | 'station' | 'route'
  id: string
}
export const chosen = signal<Chosen | null>(null)
export type Tab = 'places' | 'stations' | 'routes'
export const tab = signal<Tab>('places')
export const hiddenLayers = signal<ReadonlySet<string>>(new Set())

/** What a table shows: it stands still while another one is in front. */
function inFront<T>(resource: Signal<Resource<T>>, id: Tab): ReadonlySignal<Resource<T>> {
  return whileSeen(resource, () => tab.value === id, ({ value }) => value === null)
}
export const listedPlaces = inFront(places, 'places')
export const listedStations = inFront(stations, 'stations')
export const listedRoutes = inFront(routes, 'routes')
export const listedAt = whileSeen(now, () => tab.value === 'stations')

const TAB_OF: Record<Chosen['kind'], Tab> = { place: 'places', station: 'stations', route: 'routes' }

export function choose(what: Chosen | null): void {
  chosen.value = what
  if (what) tab.value = TAB_OF[what.kind]
}

export function routeId(planId: string, truck: string): string {
  return `${planId}-${truck}`
}

const FIGURES_AGAIN_MS = 60_000 // what they say stays true while nothing is told, but their instant moves on

/** The figures as of now; who watches a page for hours sees when they were looked at last. */
function readFigures({ service, feed }: Live): void {
  if (!document.hidden && feed.value.phase === 'live') void figureParts[service].refresh()
}

export function begin(): void {
  setInterval(() => services.forEach(readFigures), FIGURES_AGAIN_MS)
  for (const each of services) each.start()
  everySecond(() => {
    services.forEach((each) => each.tick())
    routesDay.tick(routes.value.value?.on ?? null, cityDay(nowMs()), performance.now())
  })
}

/** What the map lies on; asked for when the map is opened. Districts are the same in every service: the first that answers. */
export async function readGround(): Promise<void> {
  await Promise.all([
    readInto(baseMap, ['/waste/v1/base-map']),
    readInto(districts, ['/parking/v1/districts', '/waste/v1/districts', '/charging/v1/districts']),
  ])
}

function pointsOf(all: Listed<Station>): number {
  let points = 0
  for (const station of all.items.values()) points += station.evses.length
  return points
}

function listed<T extends { id: string }>(all: readonly T[], truncated: boolean): Listed<T> {
  return { items: new Map(all.map((each) => [each.id, each])), truncated }
}

function changed<T, D>(all: Listed<T>, told: readonly D[], into: (items: Map<string, T>, data: D) => void): Listed<T> {
  const items = new Map(all.items)
  for (const data of told) into(items, data)
  return { ...all, items }
}

function changeEvse(items: Map<string, Station>, told: EvseChanged): void {
  const station = items.get(told.location_id) // registered since: it comes with the next reading
  if (station) items.set(station.id, withStatus(station, told))
}
