import type { ComponentChildren } from 'preact'
import type { ReadonlySignal } from '@preact/signals'
import { t } from './i18n.ts'
import type { Resource } from './resource.ts'

/** A block's content when there is some; else that it is being read, or why it could not be. What is old stays on the page. */
export function Block<T>(props: { what: string; of: ReadonlySignal<Resource<T>>; retry: () => void; children: (value: T) => ComponentChildren }) {
  const { value, problem } = props.of.value
  return (
    <>
      {problem && (
        <div class="problem" role="status">
          <p>
            <strong>{t('problem.title', { what: props.what })}</strong>
            <span>{problem.message || t('problem.network')}</span>
          </p>
          <button type="button" onClick={props.retry}>
            {t('problem.retry')}
          </button>
        </div>
      )}
      {value !== null ? props.children(value) : !problem && <p class="loading">{t('problem.loading', { what: props.what })}</p>}
    </>
  )
}
