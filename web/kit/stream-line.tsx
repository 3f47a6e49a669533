import { PATTERNS } from './streams.ts'
import type { Stream } from './types.ts'

/** A piece of a stream's line as the map draws it. */
export function StreamLine({ stream }: { stream: Stream }) {
  return (
    <svg class="stream-line" viewBox="0 0 32 6" width="32" height="6" aria-hidden="true">
      <line x1="1.5" x2="30.5" y1="3" y2="3" stroke={`var(--${stream})`} stroke-width="3" stroke-dasharray={PATTERNS[stream].join(' ') || undefined} stroke-linecap="round" />
    </svg>
  )
}
