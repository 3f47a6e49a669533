/** What the lists of car parks and of stations have in common: found by name and by class, with what is free. */

import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import type { Count, Shown } from '../kit/availability.ts'
import { Filter } from '../kit/filter.tsx'
import { Free } from '../kit/free.tsx'
import { named, t } from '../kit/i18n.ts'
import { Sign } from '../kit/sign.tsx'
import { fits } from '../kit/sorting.ts'
import type { Kind } from '../kit/symbols.ts'
import { type Column, Table } from '../kit/table.tsx'
import { choose, chosen, type Listed } from './city.ts'
import { ThingName } from './thing-name.tsx'

const STATES = ['live', 'late', 'forecast', 'unknown', 'closed'] as const

export interface Thing {
  id: string
  name: string
  name_en?: string | null
  invented: boolean
}

/** How things of a kind are shown now. */
export interface Looks<T> {
  kind: Kind
  shown: (thing: T) => Shown
  count: (thing: T) => Count | null
}

export interface ShownListProps<T> {
  looks: Looks<T>
  listed: Listed<T>
  frozen: boolean
  id: string
  caption: string
  none: string
  texts: (thing: T) => readonly (string | null | undefined)[] // what it is found by
  columns: readonly Column<T>[]
}

export function ShownList<T extends Thing>({ looks, listed, frozen, id, caption, none, texts, columns }: ShownListProps<T>) {
  const [typed, type] = useState('')
  const [choice, choosing] = useState('all')
  const all = [...listed.items.values()]
  if (!all.length) return <p class="nothing">{none}</p>
  const wanted = all.filter((thing) => fits(typed, texts(thing)) && isWanted(looks, thing, choice))
  return (
    <div class={frozen ? 'old' : ''}>
      <Filter id={id} typed={typed} type={type} choice={choice} choose={choosing} choices={choices(looks.kind)} />
      {listed.truncated && <p class="small">{t('tables.truncated')}</p>}
      <Table
        caption={caption}
        columns={columns}
        rows={wanted}
        all={all.length}
        id={(thing) => thing.id}
        testId={(thing) => `${looks.kind}-row-${thing.id}`}
        order={{ column: 'free', direction: 'descending' }}
        chosen={chosen.value?.kind === looks.kind ? chosen.value.id : null}
        choose={(thing) => choose({ kind: looks.kind, id: thing.id })}
        nothing={t('tables.nothing')}
      />
    </div>
  )
}

function choices(kind: Kind) {
  return [
    { id: 'all', label: t('tables.all') },
    { id: 'free', label: t('tables.withFree') },
    ...STATES.filter((id) => kind === 'place' || id !== 'forecast').map((id) => ({ id, label: t(`shown.${id}`) })),
  ]
}

function isWanted<T>({ shown, count }: Looks<T>, thing: T, choice: string): boolean {
  if (choice === 'all') return true
  return choice === 'free' ? shown(thing) !== 'closed' && (count(thing)?.free ?? 0) > 0 : shown(thing) === choice
}

export function nameColumn<T extends Thing>({ kind }: Looks<T>, head: string, sub: (thing: T) => ComponentChildren): Column<T> {
  return {
    id: 'name',
    head,
    by: named,
    cell: (thing) => (
      <>
        <ThingName of={thing} choose={() => choose({ kind, id: thing.id })} />
        <span class="sub">{sub(thing)}</span>
      </>
    ),
  }
}

export function stateColumn<T>({ kind, shown }: Looks<T>): Column<T> {
  return {
    id: 'state',
    head: t('places.state'),
    by: (thing) => STATES.indexOf(shown(thing)),
    cell: (thing) => (
      <span class={`shown shown-${shown(thing)}`}>
        <Sign kind={kind} shown={shown(thing)} />
        <span class="shown-word">{t(`shown.${shown(thing)}`)}</span>
      </span>
    ),
  }
}

export function freeColumn<T>({ shown, count }: Looks<T>, head: string): Column<T> {
  return {
    id: 'free',
    head,
    numeric: true,
    start: 'descending',
    by: (thing) => (shown(thing) === 'closed' ? -1 : (count(thing)?.free ?? null)),
    cell: (thing) => <Free count={count(thing)} shown={shown(thing)} />,
  }
}
