import type { Verdict } from './judging.ts'

const SHAPES: Record<Verdict, preact.ComponentChildren> = {
  overdue: (
    <>
      <path d="M8 1.2 15.2 14H.8z" fill="currentColor" />
      <path d="M8 5.6v4" stroke="var(--surface)" stroke-width="1.8" stroke-linecap="round" />
      <circle cx="8" cy="11.9" r="1.05" fill="var(--surface)" />
    </>
  ),
  missed: (
    <>
      <path d="M8 2 14.4 13.4H1.6z" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linejoin="round" />
      <path d="M8 6.2v3.2" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" />
      <circle cx="8" cy="11.4" r=".95" fill="currentColor" />
    </>
  ),
  met: (
    <>
      <circle cx="8" cy="8" r="7" fill="currentColor" />
      <path d="m4.9 8.3 2.2 2.2 4.1-4.6" fill="none" stroke="var(--surface)" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />
    </>
  ),
  no_data: <circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.7" stroke-dasharray="2.6 2.6" />,
  not_judged: <path d="M3 8h10" stroke="currentColor" stroke-width="2" stroke-linecap="round" />,
}

/** A status as a shape; the word stands beside it. */
export function VerdictIcon({ of }: { of: Verdict }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      {SHAPES[of]}
    </svg>
  )
}

const PATHS = {
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  fit: 'M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10',
  close: 'm4 4 8 8m0-8-8 8',
} as const

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  )
}
