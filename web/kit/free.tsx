import type { Count, Shown } from './availability.ts'
import { Changing } from './changing.tsx'
import { t } from './i18n.ts'

/** Free of total with a bar; what nobody counted is unknown, not 0; what is closed has no number. What is only expected says so, and within which bounds. */
export function Free({ count, shown }: { count: Count | null; shown: Shown }) {
  if (shown === 'closed') return <span class="muted">—</span>
  if (!count || shown === 'unknown') return <span class="muted">{t('places.unknown')}</span>
  const share = count.total > 0 ? Math.min(1, count.free / count.total) : 0
  return (
    <span class={`free free-${shown}`}>
      <span class="free-text">
        <strong>
          {count.between && t('free.about')}
          <Changing value={count.free} />
        </strong>
        <span class="of"> / {count.total}</span>
        {count.between && <span class="free-between">{t('free.between', { low: count.between[0], high: count.between[1] })}</span>}
      </span>
      <svg class="free-bar" viewBox="0 0 48 4" width="48" height="4" aria-hidden="true">
        <rect class="bar-ground" width="48" height="4" rx="2" />
        <rect class="bar-value" width={48 * share} height="4" rx="2" />
      </svg>
    </span>
  )
}
