import type { Shown } from './availability.ts'
import { type Kind, sign, signColour } from './symbols.ts'

/** The same sign as on the map, in a list or a legend; the word stands beside it. */
export function Sign({ kind, shown }: { kind: Kind; shown: Shown }) {
  const colours = { strong: `var(${signColour(kind, shown)})`, paper: 'var(--surface)', ink: 'var(--on-strong)' }
  // the markup is our own constant, never data
  return <span class="sign" aria-hidden="true" dangerouslySetInnerHTML={{ __html: sign(kind, shown, colours) }} />
}
