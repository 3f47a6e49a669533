import { useState } from 'preact/hooks'
import { Age } from '../kit/age.tsx'
import { placeCount, placeShown } from '../kit/availability.ts'
import { Filter } from '../kit/filter.tsx'
import { Free } from '../kit/free.tsx'
import { named, t, word } from '../kit/i18n.ts'
import { Block } from '../kit/problem.tsx'
import { Sign } from '../kit/sign.tsx'
import { fits } from '../kit/sorting.ts'
import { type Column, Table } from '../kit/table.tsx'
import type { Place } from '../kit/types.ts'
import { choose, chosen, type Listed, listedPlaces, parking } from './city.ts'
import { ThingName } from './thing-name.tsx'

const STATES = ['live', 'late', 'unknown', 'closed'] as const

export function PlacesList() {
  return (
    <Block what={t('tables.places')} of={listedPlaces} retry={() => void parking.read()}>
      {(listed) => <Places listed={listed} />}
    </Block>
  )
}

function Places({ listed }: { listed: Listed<Place> }) {
  const [typed, type] = useState('')
  const [choice, choosing] = useState('all')
  const frozen = parking.feed.value.phase !== 'live'
  const all = [...listed.items.values()]
  if (!all.length) return <p class="nothing">{t('places.none')}</p>
  const wanted = all.filter((place) => fits(typed, [place.name, place.name_en, place.id, place.address]) && isWanted(place, choice, frozen))
  return (
    <div class={frozen ? 'old' : ''}>
      <Filter id="places" typed={typed} type={type} choice={choice} choose={choosing} choices={choices()} />
      {listed.truncated && <p class="small">{t('tables.truncated')}</p>}
      <Table
        caption={t('tables.places')}
        columns={columns(frozen)}
        rows={wanted}
        all={all.length}
        id={(place) => place.id}
        testId={(place) => `place-row-${place.id}`}
        order={{ column: 'free', direction: 'descending' }}
        chosen={chosen.value?.kind === 'place' ? chosen.value.id : null}
        choose={(place) => choose({ kind: 'place', id: place.id })}
        nothing={t('tables.nothing')}
      />
    </div>
  )
}

function choices() {
  return [
    { id: 'all', label: t('tables.all') },
    { id: 'free', label: t('tables.withFree') },
    ...STATES.map((id) => ({ id, label: t(`shown.${id}`) })),
  ]
}

function isWanted(place: Place, choice: string, frozen: boolean): boolean {
  if (choice === 'all') return true
  const shown = placeShown(place, frozen)
  return choice === 'free' ? shown !== 'closed' && (placeCount(place)?.free ?? 0) > 0 : shown === choice
}

function columns(frozen: boolean): Column<Place>[] {
  return [
    {
      id: 'name',
      head: t('places.name'),
      by: named,
      cell: (place) => (
        <>
          <ThingName of={place} choose={() => choose({ kind: 'place', id: place.id })} />
          <span class="sub">
            {word('kind', place.kind)}
            {place.access !== 'public' && ` · ${word('access', place.access)}`}
          </span>
        </>
      ),
    },
    {
      id: 'state',
      head: t('places.state'),
      by: (place) => STATES.indexOf(placeShown(place, frozen)),
      cell: (place) => {
        const shown = placeShown(place, frozen)
        return (
          <span class={`shown shown-${shown}`}>
            <Sign kind="place" shown={shown} />
            <span class="shown-word">{t(`shown.${shown}`)}</span>
          </span>
        )
      },
    },
    {
      id: 'free',
      head: t('places.free'),
      numeric: true,
      start: 'descending',
      by: (place) => (placeShown(place, frozen) === 'closed' ? -1 : (placeCount(place)?.free ?? null)),
      cell: (place) => <Free count={placeCount(place)} shown={placeShown(place, frozen)} />,
    },
    {
      id: 'charging',
      head: t('places.charging'),
      numeric: true,
      start: 'descending',
      by: (place) => place.charging?.free ?? null,
      cell: (place) => <Charging place={place} />,
    },
    { id: 'age', head: t('places.age'), numeric: true, start: 'descending', by: (place) => (place.as_of ? Date.parse(place.as_of) : null), cell: (place) => <Age at={place.as_of} /> },
  ]
}

function Charging({ place }: { place: Place }) {
  if (!place.charging) return <span class="muted">—</span>
  if (place.charging.free === null) return <span class="muted">{t('places.unknown')}</span>
  return (
    <span>
      {place.charging.free}
      <span class="of"> / {place.charging.bays}</span>
    </span>
  )
}
