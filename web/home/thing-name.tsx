import type { ComponentChildren } from 'preact'
import { named, t } from '../kit/i18n.ts'
import { plainName } from '../kit/format.ts'

/** A row's name as a button that chooses it: the row itself is chosen by a click only. */
export function NameButton({ choose, children }: { choose: () => void; children: ComponentChildren }) {
  return (
    <button
      type="button"
      class="name"
      onClick={(event) => {
        event.stopPropagation()
        choose()
      }}
    >
      {children}
    </button>
  )
}

/** A thing's name as a button that chooses it; what is invented says so. */
export function ThingName(props: { of: { name: string; name_en?: string | null; invented: boolean }; choose: () => void }) {
  return (
    <span class="thing">
      <NameButton choose={props.choose}>{plainName(named(props.of), props.of.invented)}</NameButton>
      {props.of.invented && <SampleTag />}
    </span>
  )
}

export function SampleTag() {
  return (
    <span class="tag tag-sample" title={t('sample.title')}>
      {t('sample.tag')}
    </span>
  )
}
