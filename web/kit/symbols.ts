/** The signs of car parks and stations: shape tells the kind, inside and line tell how far the number can be trusted. Pure. */

import type { Shown } from './availability.ts'

export type Kind = 'place' | 'station'

/** `strong`: the colour of the sign; `paper`: what it lies on; `ink`: on top of the colour. */
export interface SignColours {
  strong: string
  paper: string
  ink: string
}

const SIZE = 22
const LETTER_P = 'M8.6 16V6.4h3.5a2.9 2.9 0 0 1 0 5.8H8.6'
const BOLT = 'M12.2 4.8 7.6 12h3.2l-1 5.2L14.6 10h-3.3z'

/** An SVG text of 22 × 22. Live is filled; late has a thick edge; forecast a dotted one; unknown is dashed; closed is struck out. */
export function sign(kind: Kind, shown: Shown, { strong, paper, ink }: SignColours): string {
  const edge = kind === 'place' ? (attributes: string) => `<rect x="2" y="2" width="18" height="18" rx="4.5" ${attributes}/>` : (attributes: string) => `<circle cx="11" cy="11" r="9.2" ${attributes}/>`
  const glyph = (colour: string) =>
    kind === 'place'
      ? `<path d="${LETTER_P}" fill="none" stroke="${colour}" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round"/>`
      : `<path d="${BOLT}" fill="${colour}"/>`
  const inside: Record<Shown, string> = {
    live: edge(`fill="${strong}" stroke="${paper}" stroke-width="1.4"`) + glyph(ink),
    late: edge(`fill="${paper}" stroke="${strong}" stroke-width="2.6"`) + glyph(strong),
    forecast: edge(`fill="${paper}" stroke="${strong}" stroke-width="2.4" stroke-dasharray="0.1 3.6" stroke-linecap="round"`) + glyph(strong),
    unknown:
      edge(`fill="${paper}" stroke="${strong}" stroke-width="1.8" stroke-dasharray="3 2.4"`) +
      `<path d="M8.6 8.9a2.5 2.5 0 1 1 3.7 2.2c-.9.5-1.3.9-1.3 1.8" fill="none" stroke="${strong}" stroke-width="1.9" stroke-linecap="round"/><circle cx="11" cy="15.6" r="1.2" fill="${strong}"/>`,
    closed: edge(`fill="${paper}" stroke="${strong}" stroke-width="1.8"`) + `<path d="m7.2 7.2 7.6 7.6m0-7.6-7.6 7.6" stroke="${strong}" stroke-width="2.2" stroke-linecap="round"/>`,
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}" viewBox="0 0 ${SIZE} ${SIZE}">${inside[shown]}</svg>`
}

/** The colour's name in tokens.css: live ones have the colour of their kind, the others that of their state. */
export function signColour(kind: Kind, shown: Shown): string {
  return shown === 'live' ? `--${kind}` : `--${shown}`
}
