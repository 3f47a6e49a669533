/** The streams' lines: a colour by GB/T 19095 (in tokens.css) and a pattern of its own, so that colour is never alone. Pure. */

import type { Stream } from './types.ts'

export const STREAMS: readonly Stream[] = ['kitchen', 'other', 'recyclable', 'hazardous', 'construction']

export const PATTERNS: Record<Stream, readonly number[]> = {
  recyclable: [],
  kitchen: [12, 6],
  other: [2, 6],
  hazardous: [12, 5, 2, 5],
  construction: [6, 6],
}
