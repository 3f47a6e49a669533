/** The streams' lines: a colour by GB/T 19095 (in tokens.css) and a pattern of its own, so that colour is never alone. Pure. */

import type { Stream } from './types.ts'

export const STREAMS: readonly Stream[] = ['kitchen', 'other', 'recyclable', 'hazardous', 'construction']

export const PATTERNS: Record<Stream, readonly number[]> = {
  recyclable: [],
  kitchen: [11, 5],
  other: [2.5, 3.5],
  hazardous: [9, 4, 2.5, 4],
  construction: [6, 6],
}
