import { t } from './i18n.ts'

export interface Choice {
  id: string
  label: string
}

/** What is typed and chosen above a table. */
export function Filter(props: { id: string; typed: string; type: (text: string) => void; choices: readonly Choice[]; choice: string; choose: (id: string) => void }) {
  return (
    <div class="filter" role="search">
      <label class="visually-hidden" for={`${props.id}-text`}>
        {t('tables.filter')}
      </label>
      <input id={`${props.id}-text`} type="search" placeholder={t('tables.filter')} value={props.typed} onInput={(event) => props.type(event.currentTarget.value)} />
      <label class="visually-hidden" for={`${props.id}-choice`}>
        {t('tables.show')}
      </label>
      <select id={`${props.id}-choice`} value={props.choice} onChange={(event) => props.choose(event.currentTarget.value)}>
        {props.choices.map((each) => (
          <option key={each.id} value={each.id}>
            {each.label}
          </option>
        ))}
      </select>
    </div>
  )
}
