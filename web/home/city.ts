/** What the page knows of the city: one live feed a service, and the signals that lists and map both read. */

import { computed, signal } from '@preact/signals'
import { getJson, ProblemError } from '../kit/api.ts'
import { everySecond, now } from '../kit/clock.ts'
import { byTrouble, type Known, learn } from '../kit/judging.ts'
import { type Change, emptyResource, Live, type Part, type Resource } from '../kit/live.ts'
import { cityDay } from '../kit/time.ts'
import type {
  EvseChanged, Indicator, IndicatorList, Place, PlacesOverview, RoutesToday, Service, Station, StationsOverview,
} from '../kit/types.ts'

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

function part<A, T>(path: string, resource: ReturnType<typeof emptyResource<T>>, take: (answer: A) => T): Part<never> {
  return { path, resource, take } as unknown as Part<never>
}

function figuresPath(service: Service): string {
  return `/${service}/v1/indicators?provisional=true&closed=true&trend=30`
}

function figuresPart(service: Service): Part<never> {
  const resource = figures[service]
  return part(figuresPath(service), resource, (answer: IndicatorList) => answer.indicators.reduce(learned, resource.value.value ?? new Map()))
}

function learned(known: Figures, told: Indicator): Figures {
  return new Map(known).set(told.name, learn(known.get(told.name), told))
}

function applyFigures(service: Service, changes: readonly Change[]): void {
  const told = changes.filter((change) => change.name === 'indicator.changed')
  const { value } = figures[service].value
  if (!told.length || !value) return
  figures[service].value = { value: told.reduce((known, change) => learned(known, change.data as Indicator), value), problem: null }
}

export const parking = new Live({
  service: 'parking',
  parts: [
    part('/parking/v1/overview', places, (answer: PlacesOverview) => listed(answer.places, answer.truncated)),
    figuresPart('parking'),
  ],
  events: ['place.changed', 'indicator.changed'],
  apply: (changes) => {
    applyFigures('parking', changes)
    update(places, changes, 'place.changed', (items, place: Place) => items.set(place.id, place))
  },
})

export const charging = new Live({
  service: 'charging',
  parts: [
    part('/charging/v1/overview', stations, (answer: StationsOverview) => listed(answer.locations, answer.truncated)),
    figuresPart('charging'),
  ],
  events: ['evse.changed', 'indicator.changed'],
  apply: (changes) => {
    applyFigures('charging', changes)
    update(stations, changes, 'evse.changed', changeEvse)
  },
})

export const waste = new Live({
  service: 'waste',
  parts: [part('/waste/v1/routes', routes, (answer: RoutesToday) => answer), figuresPart('waste')],
  events: ['plan.changed', 'indicator.changed'],
  apply: (changes) => {
    applyFigures('waste', changes)
    if (changes.some((change) => change.name === 'plan.changed')) void readRoutes()
  },
})

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

export const hasSample = computed(
  () =>
    [...(places.value.value?.items.values() ?? [])].some((place) => place.invented) ||
    [...(stations.value.value?.items.values() ?? [])].some((station) => station.invented),
)

/** What is chosen, in list and map alike. */
export interface Chosen {
  kind: 'place' | 'station' | 'route'
  id: string
}
export const chosen = signal<Chosen | null>(null)
export type Tab = 'places' | 'stations' | 'routes'
export const tab = signal<Tab>('places')
export const hiddenLayers = signal<ReadonlySet<string>>(new Set())

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
async function readFigures(service: Service): Promise<void> {
  if (document.hidden || live[service].feed.value.phase !== 'live') return
  const told = await getJson<IndicatorList>(figuresPath(service)).catch(() => null)
  const resource = figures[service]
  if (told) resource.value = { value: told.indicators.reduce(learned, resource.value.value ?? new Map()), problem: null }
}

export function begin(): void {
  setInterval(() => services.forEach(({ service }) => void readFigures(service)), FIGURES_AGAIN_MS)
  for (const each of services) each.start()
  everySecond(() => services.forEach((each) => each.tick()))
  let day = today.value
  today.subscribe((now) => {
    if (now !== day) void readRoutes() // another day, other routes
    day = now
  })
}

/** What the map lies on; asked for when the map is opened. Districts are the same in every service: the first that answers. */
export async function readGround(): Promise<void> {
  await Promise.all([
    readInto(baseMap, ['/waste/v1/base-map']),
    readInto(districts, ['/parking/v1/districts', '/waste/v1/districts', '/charging/v1/districts']),
  ])
}

async function readRoutes(): Promise<void> {
  await readInto(routes, ['/waste/v1/routes'])
}

async function readInto<T>(resource: { value: Resource<T> }, paths: readonly string[]): Promise<void> {
  let problem: ProblemError | null = null
  for (const path of paths) {
    try {
      resource.value = { value: await getJson<T>(path), problem: null }
      return
    } catch (error) {
      problem = error instanceof ProblemError ? error : new ProblemError(String(error), 0)
    }
  }
  resource.value = { ...resource.value, problem }
}

function listed<T extends { id: string }>(all: readonly T[], truncated: boolean): Listed<T> {
  return { items: new Map(all.map((each) => [each.id, each])), truncated }
}

function update<T, D>(
  resource: ReturnType<typeof emptyResource<Listed<T>>>,
  changes: readonly Change[],
  name: string,
  into: (items: Map<string, T>, data: D) => void,
): void {
  const told = changes.filter((change) => change.name === name)
  const { value } = resource.value
  if (!told.length || !value) return
  const items = new Map(value.items)
  for (const change of told) into(items, change.data as D)
  resource.value = { value: { ...value, items }, problem: null }
}

function changeEvse(items: Map<string, Station>, told: EvseChanged): void {
  const station = items.get(told.location_id)
  if (!station) return // registered since: it comes with the next reading
  const evses = station.evses.map((evse) =>
    evse.uid === told.evse_uid ? { ...evse, status: told.status, since: told.since, as_of: told.since, freshness: 'live' as const } : evse,
  )
  items.set(station.id, { ...station, evses })
}
