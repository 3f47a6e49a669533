/** How things are drawn on the map, in the colours of tokens.css as they are now. */

import type { FeatureLike } from 'ol/Feature.js'
import Fill from 'ol/style/Fill.js'
import Icon from 'ol/style/Icon.js'
import Stroke from 'ol/style/Stroke.js'
import Style from 'ol/style/Style.js'
import Text from 'ol/style/Text.js'
import Circle from 'ol/style/Circle.js'
import type { Shown } from '../availability.ts'
import { PATTERNS, STREAMS } from '../streams.ts'
import { type Kind, sign, signColour } from '../symbols.ts'
import type { Stream } from '../types.ts'

const TOKENS = [
  'map-ground', 'map-road', 'map-road-major', 'map-road-edge', 'map-label', 'map-halo', 'map-district', 'map-district-label', 'map-focus',
  'surface', 'on-strong', 'text', 'place', 'station', 'late', 'forecast', 'unknown', 'closed', ...STREAMS,
] as const

type Token = (typeof TOKENS)[number]
export type Palette = Record<Token, string>

const FONT = '"PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", system-ui, sans-serif'
const MAJOR_KMH = 50
const BESIDE_PX = 11
const NEAR_RESOLUTION = 6 // metres a pixel

/** Colours as the browser resolves them: `light-dark()` included. */
export function readPalette(): Palette {
  const probe = document.createElement('span')
  probe.hidden = true
  document.body.append(probe)
  const entries = TOKENS.map((token) => {
    probe.style.color = `var(--${token})`
    return [token, getComputedStyle(probe).color] as const
  })
  probe.remove()
  return Object.fromEntries(entries) as Palette
}

export class Styles {
  private readonly palette: Palette
  private readonly kept = new Map<string, Style | Style[]>()

  constructor(palette: Palette) {
    this.palette = palette
  }

  private once<T extends Style | Style[]>(key: string, make: () => T): T {
    const known = this.kept.get(key) as T | undefined
    if (known) return known
    const made = make()
    this.kept.set(key, made)
    return made
  }

  road = (feature: FeatureLike, resolution: number): Style[] => {
    const major = Number(feature.get('speed_kmh') ?? 0) >= MAJOR_KMH
    const width = Math.min(major ? 9 : 6, Math.max(major ? 1.6 : 0.9, (major ? 14 : 8) / resolution))
    return this.once(`road ${major} ${width.toFixed(1)}`, () => [
      new Style({ stroke: new Stroke({ color: this.palette['map-road-edge'], width: width + 1.6 }), zIndex: 0 }),
      new Style({ stroke: new Stroke({ color: this.palette[major ? 'map-road-major' : 'map-road'], width }), zIndex: major ? 2 : 1 }),
    ])
  }

  roadName = (feature: FeatureLike, resolution: number): Style | undefined => {
    if (resolution > 14) return undefined
    const name = String(feature.get('name'))
    return this.once(
      `name ${name}`,
      () =>
        new Style({
          text: new Text({
            text: name,
            placement: 'line',
            font: `11px ${FONT}`,
            fill: new Fill({ color: this.palette['map-label'] }),
            stroke: new Stroke({ color: this.palette['map-halo'], width: 3 }),
            maxAngle: Math.PI / 5,
            repeat: 420,
          }),
        }),
    )
  }

  district = (feature: FeatureLike): Style =>
    this.once(
      `district ${String(feature.get('name'))}`,
      () => new Style({ stroke: new Stroke({ color: this.palette['map-district'], width: 1.3, lineDash: [7, 4, 1.5, 4] }) }),
    )

  districtName = (feature: FeatureLike): Style =>
    this.once(
      `district-name ${String(feature.get('name'))}`,
      () =>
        new Style({
          text: new Text({
            text: String(feature.get('name')),
            font: `600 12px ${FONT}`,
            fill: new Fill({ color: this.palette['map-district-label'] }),
            stroke: new Stroke({ color: this.palette['map-halo'], width: 3 }),
          }),
        }),
    )

  /** The streets of a stream: each stream beside the others in its colour and pattern; they step back while one route is chosen. */
  network(stream: Stream, isBack: boolean, resolution: number): Style {
    const near = resolution < NEAR_RESOLUTION
    return this.once(`network ${stream} ${isBack} ${near}`, () => {
      const [width, apart] = near ? [3, 3.6] : [1.9, 2.3]
      const colour = isBack ? faded(this.palette[stream]) : this.palette[stream]
      const offset = (STREAMS.indexOf(stream) - 1.5) * apart
      return new Style({ stroke: new Stroke({ color: colour, width, offset, lineDash: scaled(stream, near ? 1 : 0.75), lineCap: 'butt' }) })
    })
  }

  /** The one that is chosen, on its streets. */
  route(stream: Stream): Style[] {
    return this.once(`route ${stream}`, () => [
      new Style({ stroke: new Stroke({ color: this.palette['map-halo'], width: 8 }), zIndex: 8 }),
      new Style({ stroke: new Stroke({ color: this.palette[stream], width: 4.5, lineDash: scaled(stream, 1.3), lineCap: 'butt' }), zIndex: 9 }),
    ])
  }

  /** A sign is always drawn; its number only where it covers nothing. `beside`: a station that stands in a car park. */
  point(kind: Kind, shown: Shown, label: string, beside: boolean, isChosen: boolean): Style[] {
    return this.once(`point ${kind} ${shown} ${label} ${beside} ${isChosen}`, () => {
      const styles = [new Style({ image: this.icon(kind, shown, beside, isChosen), zIndex: isChosen ? 9 : kind === 'place' ? 2 : 3 })]
      if (label) styles.push(this.number(label, beside))
      if (isChosen) styles.unshift(this.ring(beside))
      return styles
    })
  }

  private number(label: string, beside: boolean): Style {
    return new Style({
      text: new Text({
        text: label,
        offsetX: beside ? BESIDE_PX : 0,
        offsetY: beside ? -BESIDE_PX - 17 : 19,
        font: `600 11px ${FONT}`,
        fill: new Fill({ color: this.palette.text }),
        stroke: new Stroke({ color: this.palette['map-halo'], width: 3 }),
      }),
    })
  }

  private icon(kind: Kind, shown: Shown, beside: boolean, isChosen: boolean): Icon {
    const strong = this.palette[signColour(kind, shown).slice(2) as Token]
    const svg = sign(kind, shown, { strong, paper: this.palette.surface, ink: this.palette['on-strong'] })
    return new Icon({
      src: `data:image/svg+xml,${encodeURIComponent(svg)}`,
      scale: (isChosen ? 1.2 : 0.86) * (beside ? 0.85 : 1),
      displacement: beside ? [BESIDE_PX, BESIDE_PX] : [0, 0],
      declutterMode: 'obstacle',
    })
  }

  private ring(beside: boolean): Style {
    return new Style({
      image: new Circle({ radius: 17, displacement: beside ? [BESIDE_PX, BESIDE_PX] : [0, 0], declutterMode: 'none', fill: new Fill({ color: faded(this.palette['map-focus'], 0.25) }), stroke: new Stroke({ color: this.palette['map-focus'], width: 2.5 }) }),
      zIndex: 8,
    })
  }
}

function scaled(stream: Stream, by: number): number[] {
  return PATTERNS[stream].map((part) => part * by)
}

function faded(colour: string, alpha = 0.35): string {
  const numbers = colour.match(/[\d.]+/g) ?? []
  return `rgba(${numbers.slice(0, 3).join(',')},${alpha})`
}
