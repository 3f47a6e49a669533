/** The map of a page: canvas, no tiles, no WebGL. It is told what to show and tells what was chosen. */

import Feature from 'ol/Feature.js'
import OlMap from 'ol/Map.js'
import View from 'ol/View.js'
import { defaults as defaultInteractions } from 'ol/interaction/defaults.js'
import ScaleLine from 'ol/control/ScaleLine.js'
import GeoJSON from 'ol/format/GeoJSON.js'
import LineString from 'ol/geom/LineString.js'
import MultiLineString from 'ol/geom/MultiLineString.js'
import Point from 'ol/geom/Point.js'
import { createEmpty, extend, isEmpty } from 'ol/extent.js'
import VectorLayer from 'ol/layer/Vector.js'
import VectorImageLayer from 'ol/layer/VectorImage.js'
import { fromLonLat } from 'ol/proj.js'
import VectorSource from 'ol/source/Vector.js'
import type Style from 'ol/style/Style.js'
import type { Shown } from '../availability.ts'
import type { Language } from '../choose.ts'
import { plainName } from '../format.ts'
import type { Kind } from '../symbols.ts'
import type { Position, Stream } from '../types.ts'
import { STREAMS } from '../streams.ts'
import { chained, type Lonlat, type Street } from './chain.ts'
import { network } from './network.ts'
import { readPalette, Styles } from './styles.ts'

export interface MapPoint {
  id: string
  at: Position
  shown: Shown
  free: number | null
  of: number | null // only where it is shown, too
  beside: boolean // its sign stands beside another one's
}

export interface MapRoute {
  id: string
  stream: Stream
  line: [number, number][]
}

export type ChosenKind = Kind | 'route'

interface Chosen {
  kind: ChosenKind
  id: string
}

const READER = new GeoJSON({ featureProjection: 'EPSG:3857' })
const NEAR_PX = 5
const CENTRE_PX = 48
const EDGE_PX = 30
const PANEL_PX = [330, 260] as const // what tells of a chosen thing lies in this corner
const NUMBERS_FROM = 16 // metres a pixel: above it the numbers of car parks would lie on each other
const NUMBERS_BESIDE_FROM = 5
const EMPTY: [number, number] = [109.787, 39.565] // where it looks while nothing is known

export class CityMap {
  onChoose: (kind: ChosenKind | null, id: string | null) => void = () => {}
  private readonly map: OlMap
  private styles = new Styles(readPalette())
  private chosen: Chosen | null = null
  private fitted = false
  private hidden: ReadonlySet<string> = new Set()
  private readonly roads = new VectorSource()
  private readonly names = new VectorSource()
  private readonly districts = new VectorSource()
  private readonly networks = new VectorSource() // the streets of each stream, as they are drawn
  private readonly routes = new VectorSource() // the tours, of which one may be chosen
  private readonly points: Record<Kind, VectorSource> = { place: new VectorSource(), station: new VectorSource() }
  private readonly layers: { changed: () => void }[]
  private readonly pointLayers: VectorLayer[]
  private readonly networkLayer: VectorImageLayer

  constructor(target: HTMLElement) {
    const road = new VectorImageLayer({ source: this.roads, style: (feature, resolution) => this.styles.road(feature, resolution), imageRatio: 1.5 })
    const district = new VectorImageLayer({ source: this.districts, style: (feature) => this.styles.district(feature), imageRatio: 1.5 })
    this.networkLayer = new VectorImageLayer({ source: this.networks, style: (feature, resolution) => this.networkStyle(feature as Feature, resolution), imageRatio: 1.5 })
    const route = new VectorLayer({ source: this.routes, style: (feature) => (this.isChosen('route', feature as Feature) ? this.styles.route(feature.get('stream') as Stream) : undefined) })
    const name = new VectorLayer({ source: this.names, declutter: 'map', style: (feature, resolution) => this.styles.roadName(feature, resolution) })
    const districtName = new VectorLayer({ source: this.districts, declutter: 'map', style: (feature) => this.styles.districtName(feature) })
    this.pointLayers = (['place', 'station'] as const).map(
      (kind) =>
        new VectorLayer({ source: this.points[kind], declutter: 'map', style: (feature, resolution) => this.pointStyle(kind, feature as Feature, resolution) }),
    )
    this.layers = [road, district, this.networkLayer, route, name, districtName, ...this.pointLayers]
    this.map = new OlMap({
      target,
      controls: [new ScaleLine({ className: 'map-scale', minWidth: 60 })],
      interactions: defaultInteractions({ onFocusOnly: true, altShiftDragRotate: false, pinchRotate: false }),
      layers: [road, district, this.networkLayer, route, name, districtName, ...this.pointLayers],
      view: new View({ center: fromLonLat(EMPTY), zoom: 13, minZoom: 8, maxZoom: 19, enableRotation: false }),
    })
    this.map.on('click', (event) => this.tell(this.drawnAt(event.pixel)))
    this.map.on('pointermove', (event) => {
      if (!event.dragging) target.style.cursor = this.drawnAt(event.pixel) ? 'pointer' : ''
    })
    target.addEventListener('keydown', this.key)
  }

  dispose(): void {
    this.map.getTargetElement()?.removeEventListener('keydown', this.key)
    this.map.setTarget(undefined)
  }

  /** Takes the theme's colours anew. */
  paint(): void {
    this.styles = new Styles(readPalette())
    this.redraw()
  }

  zoom(by: 1 | -1): void {
    const view = this.map.getView()
    view.animate({ zoom: (view.getZoom() ?? 13) + by, duration: 160 })
  }

  /** Shows everything that there is. */
  fit(): void {
    const all = createEmpty()
    for (const source of [this.points.place, this.points.station, this.roads]) {
      const extent = source.getExtent()
      if (extent && !isEmpty(extent)) extend(all, extent)
      if (source === this.points.station && !isEmpty(all)) break // the roads only where there is nothing else
    }
    if (!isEmpty(all)) this.map.getView().fit(all, { padding: [36, 36, 36, 36], maxZoom: 16, duration: this.fitted ? 200 : 0 })
  }

  setBase(base: object | null, language: Language): void {
    if (!base) return
    const features = READER.readFeatures(base)
    this.roads.clear(true)
    this.roads.addFeatures(features)
    this.names.clear(true)
    this.names.addFeatures(chained(streets(base, language)).map(({ name, line }) => new Feature({ name, geometry: new LineString(line.map((at) => fromLonLat(at))) })))
    this.fitOnce()
  }

  setDistricts(districts: object | null, language: Language): void {
    if (!districts) return
    const features = READER.readFeatures(districts)
    for (const feature of features) feature.set('name', nameIn(feature.getProperties(), language))
    this.districts.clear(true)
    this.districts.addFeatures(features)
  }

  setPoints(kind: Kind, points: readonly MapPoint[]): void {
    const source = this.points[kind]
    const seen = new Set<string>()
    for (const point of points) {
      seen.add(point.id)
      const known = source.getFeatureById(point.id) as Feature | null
      const told = { kind, shown: point.shown, free: point.free, of: point.of, beside: point.beside }
      if (known) {
        if (Object.entries(told).some(([name, value]) => known.get(name) !== value)) known.setProperties(told)
        moveTo(known, point.at)
      } else {
        const feature = new Feature({ ...told, geometry: new Point(fromLonLat([point.at.lon, point.at.lat])) })
        feature.setId(point.id)
        source.addFeature(feature)
      }
    }
    for (const feature of source.getFeatures()) if (!seen.has(String(feature.getId()))) source.removeFeature(feature)
    this.tellCounts()
    this.fitOnce()
  }

  setRoutes(routes: readonly MapRoute[]): void {
    this.routes.clear(true)
    this.networks.clear(true)
    for (const { id, stream, line } of routes) {
      const feature = new Feature({ kind: 'route', stream, geometry: lines(network([line])) })
      feature.setId(id)
      this.routes.addFeature(feature)
    }
    for (const stream of STREAMS) {
      const tours = routes.filter((route) => route.stream === stream).map((route) => route.line)
      if (tours.length) this.networks.addFeature(new Feature({ stream, geometry: lines(network(tours)) }))
    }
    this.tellCounts()
  }

  hide(layers: ReadonlySet<string>): void {
    this.hidden = layers
    this.redraw()
  }

  choose(chosen: Chosen | null): void {
    this.chosen = chosen
    this.redraw()
    const geometry = chosen && this.feature(chosen)?.getGeometry()
    if (!geometry) return
    const view = this.map.getView()
    const visible = view.calculateExtent(this.map.getSize())
    if (geometry instanceof Point && !this.isClear(geometry)) view.animate({ center: geometry.getCoordinates(), duration: 250 })
    if (geometry instanceof MultiLineString && !geometry.intersectsExtent(visible)) view.fit(geometry, { padding: [40, 40, 40, 40], maxZoom: 15, duration: 250 })
  }

  /** Whether a point is in sight: not at the edge, and not under the panel that tells of it. */
  private isClear(point: Point): boolean {
    const [width, height] = this.map.getSize() ?? [0, 0]
    const [x, y] = this.map.getPixelFromCoordinate(point.getCoordinates()) ?? [-1, -1]
    if (width === undefined || height === undefined || x === undefined || y === undefined) return false
    const inside = x > EDGE_PX && y > EDGE_PX && x < width - EDGE_PX && y < height - EDGE_PX
    return inside && !(x < PANEL_PX[0] && y < PANEL_PX[1])
  }

  private feature({ kind, id }: Chosen): Feature | null {
    const source = kind === 'route' ? this.routes : this.points[kind]
    return source.getFeatureById(id) as Feature | null
  }

  /** How many of each the map holds, as attributes of its element: a canvas cannot be asked, and tests compare it with the tables. */
  private tellCounts(): void {
    const dataset = this.map.getTargetElement()?.dataset
    if (!dataset) return
    const held = { places: this.points.place, stations: this.points.station, routes: this.routes }
    for (const [name, source] of Object.entries(held)) dataset[name] = String(source.getFeatures().length)
  }

  private fitOnce(): void {
    if (this.fitted) return
    this.fit()
    this.fitted = this.points.place.getFeatures().length + this.points.station.getFeatures().length > 0
  }

  private redraw(): void {
    for (const layer of this.layers) layer.changed()
  }

  private isChosen(kind: ChosenKind, feature: Feature): boolean {
    return this.chosen?.kind === kind && this.chosen.id === feature.getId()
  }

  private networkStyle(feature: Feature, resolution: number): Style | undefined {
    const stream = feature.get('stream') as Stream
    return this.hidden.has(stream) ? undefined : this.styles.network(stream, this.chosen?.kind === 'route', resolution)
  }

  private pointStyle(kind: Kind, feature: Feature, resolution: number): Style[] | undefined {
    if (this.hidden.has(kind)) return undefined
    const { shown, beside } = feature.getProperties() as MapPoint
    return this.styles.point(kind, shown, this.numberOf(feature, resolution), beside && !this.hidden.has('place'), this.isChosen(kind, feature))
  }

  private numberOf(feature: Feature, resolution: number): string {
    const { free, of, shown, beside } = feature.getProperties() as MapPoint
    if (free === null || shown === 'closed' || shown === 'unknown' || resolution > (beside ? NUMBERS_BESIDE_FROM : NUMBERS_FROM)) return ''
    if (shown === 'forecast') return `≈${free}`
    return of === null ? String(free) : `${free}/${of}`
  }

  private readonly key = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') this.tell(null)
    if (event.key !== 'Enter') return
    event.preventDefault()
    this.tell(this.nearestToCentre())
  }

  private tell(found: Feature | null): void {
    this.onChoose(found ? (found.get('kind') as ChosenKind) : null, found ? String(found.getId()) : null)
  }

  /** What is drawn there: signs before streets; of the tours of a street's stream one that uses it. */
  private drawnAt(pixel: number[]): Feature | null {
    const find = (layers: readonly unknown[]) =>
      this.map.forEachFeatureAtPixel(pixel, (feature) => feature as Feature, { hitTolerance: NEAR_PX, layerFilter: (layer) => layers.includes(layer) })
    const street = find(this.pointLayers) ?? find([this.networkLayer])
    if (!street || street.getId() !== undefined) return street ?? null
    const at = this.map.getCoordinateFromPixel(pixel)
    return this.routes.getClosestFeatureToCoordinate(at, (tour) => tour.get('stream') === street.get('stream')) as Feature | null
  }

  /** The sign nearest to the middle, for who has no pointer. */
  private nearestToCentre(): Feature | null {
    const view = this.map.getView()
    const centre = view.getCenter()
    if (!centre) return null
    const reach = CENTRE_PX * (view.getResolution() ?? 1)
    const near = (['place', 'station'] as const)
      .filter((kind) => !this.hidden.has(kind))
      .map((kind) => this.points[kind].getClosestFeatureToCoordinate(centre) as Feature | null)
      .filter((feature) => feature !== null)
      .map((feature) => ({ feature, distance: distance(centre, (feature.getGeometry() as Point).getCoordinates()) }))
      .filter((each) => each.distance <= reach)
      .sort((a, b) => a.distance - b.distance)
    return near[0]?.feature ?? null
  }
}

function lines(of: readonly Lonlat[][]): MultiLineString {
  return new MultiLineString(of.map((line) => line.map((at) => fromLonLat(at))))
}

function moveTo(feature: Feature, at: Position): void {
  const point = feature.getGeometry() as Point
  const [x, y] = fromLonLat([at.lon, at.lat])
  const [oldX, oldY] = point.getCoordinates()
  if (x !== oldX || y !== oldY) point.setCoordinates([x ?? 0, y ?? 0])
}

function distance(a: number[], b: number[]): number {
  return Math.hypot((a[0] ?? 0) - (b[0] ?? 0), (a[1] ?? 0) - (b[1] ?? 0))
}

interface Named {
  name?: string
  name_en?: string | null
  invented?: boolean
}

function nameIn(of: Named, language: Language): string {
  const name = (language === 'en' && of.name_en) || of.name || ''
  return plainName(name, of.invented ?? true)
}

function streets(base: object, language: Language): Street[] {
  const features = (base as { features: { properties: Named; geometry: { type: string; coordinates: Lonlat[] } }[] }).features
  return features
    .filter((feature) => feature.geometry.type === 'LineString' && feature.properties.name)
    .map((feature) => ({ name: nameIn(feature.properties, language), line: feature.geometry.coordinates }))
}
