import { now } from './clock.ts'
import { ago, fullTime, t } from './i18n.ts'

/** How old a number is; the full time of the city in the title. */
export function Age({ at }: { at: string | null }) {
  if (at === null) return <span class="age">{t('age.never')}</span>
  return (
    <time class="age" dateTime={at} title={fullTime(at)}>
      {ago(Date.parse(at), now.value)}
    </time>
  )
}
