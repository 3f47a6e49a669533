import { Age } from '../kit/age.tsx'
import { placeCount, placeShown } from '../kit/availability.ts'
import { t, word } from '../kit/i18n.ts'
import { Block } from '../kit/problem.tsx'
import type { Column } from '../kit/table.tsx'
import type { Place } from '../kit/types.ts'
import { type Listed, listedPlaces, parking } from './city.ts'
import { freeColumn, type Looks, nameColumn, ShownList, stateColumn } from './shown-list.tsx'

export function PlacesList() {
  return (
    <Block what={t('tables.places')} of={listedPlaces} retry={() => void parking.read()}>
      {(listed) => <Places listed={listed} />}
    </Block>
  )
}

function Places({ listed }: { listed: Listed<Place> }) {
  const frozen = parking.feed.value.phase !== 'live'
  const looks: Looks<Place> = { kind: 'place', shown: (place) => placeShown(place, frozen), count: placeCount }
  return (
    <ShownList
      looks={looks}
      listed={listed}
      frozen={frozen}
      id="places"
      caption={t('tables.places')}
      none={t('places.none')}
      texts={(place) => [place.name, place.name_en, place.id, place.address]}
      columns={columns(looks)}
    />
  )
}

function columns(looks: Looks<Place>): Column<Place>[] {
  return [
    nameColumn(looks, t('places.name'), (place) => (
      <>
        {word('kind', place.kind)}
        {place.access !== 'public' && ` · ${word('access', place.access)}`}
      </>
    )),
    stateColumn(looks),
    freeColumn(looks, t('places.free')),
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
