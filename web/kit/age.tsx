import { now } from './clock.ts'
import { ago, fullTime, t } from './i18n.ts'

/** How old a number is; the full time of the city in the title. */
export function Age({ at }: { at: string | number | null }) {
  if (at === null) return <span class="age">{t('age.never')}</span>
  const ms = typeof at === 'number' ? at : Date.parse(at)
  return (
    <time class="age" dateTime={typeof at === 'number' ? new Date(at).toISOString() : at} title={fullTime(ms)}>
      {ago(ms, now.value)}
    </time>
  )
}
