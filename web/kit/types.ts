/** What the services answer, as far as the pages read it. Their own descriptions: /{service}/v1/docs. */

export type Service = 'parking' | 'charging' | 'waste'
export type Freshness = 'live' | 'late' | 'unknown'

export interface Position {
  lon: number
  lat: number
}

export interface Closure {
  starts_at: string
  ends_at: string
}

export interface PlaceCharging {
  bays: number
  working: number | null
  free: number | null
  as_of: string | null
  heard_at: string | null
  freshness: Freshness
}

/** What is expected of spaces: the mean, bounds that hold them in eight of ten cases, and the chance of one at least. */
export interface Expected {
  free: { mean: number; low: number; high: number }
  chance: number
}

/** What is expected of a car park at an instant, from the count of `since` on. */
export interface Forecast extends Expected {
  at: string
  since: string
  categories: Record<string, Expected>
}

/** A car park at an instant, as it is expected; null while nothing has been learnt of it. */
export interface Availability {
  at: string
  freshness: Freshness | 'forecast' | 'closed'
  free: Expected['free'] | null
  chance: number | null
}

export interface Place {
  id: string
  name: string
  name_en?: string | null
  position: Position
  address: string
  kind: string
  access: string
  state: string
  capacity: Record<string, number>
  charging_stations: number | null
  invented: boolean
  free: Record<string, number>
  as_of: string | null
  source: string | null
  freshness: Freshness | 'forecast'
  forecast: Forecast | null
  charging: PlaceCharging | null
  closed_until: string | null
  closed_for: string | null
  closures: Closure[]
}

export interface PlacesOverview {
  as_of: string
  truncated: boolean
  places: Place[]
}

export interface Evse {
  uid: string
  status: string
  as_of: string | null
  freshness: Freshness
}

export interface StationFacts {
  id: string
  name: string
  name_en: string | null
  position: Position
  operator_id: string
  access: string
  state: string
  district: string | null
  place_id: string | null
  invented: boolean
}

/** A station as it is answered. */
export interface ToldStation extends StationFacts {
  evses: Evse[]
}

/** A point as the page keeps it: the instant of its report is a number, for it is compared every few seconds. */
export interface KnownEvse {
  uid: string
  status: string
  heardMs: number | null
  freshness: Freshness
}

/** A station as the page keeps it; a change makes another object. */
export interface Station extends StationFacts {
  evses: readonly KnownEvse[]
}

export interface StationsOverview {
  as_of: string
  truncated: boolean
  locations: ToldStation[]
}

/** The event `evse.changed`. */
export interface EvseChanged {
  evse_uid: string
  location_id: string
  status: string
  since: string
  recorded_at: string
}

/** The event `plan.changed`. */
export interface PlanChanged {
  plan_id: string
  on: string
  state: string
}

export type Stream = 'recyclable' | 'kitchen' | 'hazardous' | 'other' | 'construction'

export interface Route {
  truck: string
  starts_at: string
  ends_at: string
  stops: number
  trips: number
  distance_m: number
  travel: 'graph' | 'estimate' | 'given'
  line: [number, number][]
}

export interface Plan {
  plan_id: string
  stream: Stream
  version: number
  published_at: string
  trucks: number
  stops: number
  unserved: number
  distance_m: number
  routes: Route[]
}

export interface RoutesToday {
  on: string
  as_of: string
  plans: Plan[]
}

export interface Figure {
  numerator: number
  denominator: number
  value: string | null
  status: 'met' | 'missed' | 'no_data' | 'not_judged'
  gap: number | null
}

export interface DistrictFigure extends Figure {
  id: string | null
  name: string | null
  name_en: string | null
}

export interface PublishedFigure extends Figure {
  on: string
  known_at: string
}

export interface TrendDay {
  on: string
  numerator: number
  denominator: number
  value: string | null
}

export interface Scheme extends Figure {
  id: string
  title: string
  title_zh: string
  source: string
  missing: string | null
  published: PublishedFigure | null
  districts?: DistrictFigure[] | null
  trend?: TrendDay[] | null
}

export interface Indicator {
  name: string
  title: string
  title_zh: string
  unit: string
  source: string
  formula: string
  formula_version: number
  target: { numerator: number; denominator: number }
  deadline: string
  better: 'higher' | 'lower'
  on: string
  at: string
  known_at: string
  provisional: boolean
  schemes: Scheme[]
}

export interface IndicatorList {
  indicators: Indicator[]
}

/** RFC 9457: what a service says when it cannot answer. */
export interface Problem {
  type: string
  title: string
  status: number
  detail?: string | null
  retry_after_s?: number
}
