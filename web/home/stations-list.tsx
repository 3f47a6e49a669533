import { useState } from 'preact/hooks'
import { Age } from '../kit/age.tsx'
import { stationCount, stationShown, stationView } from '../kit/availability.ts'
import { Filter } from '../kit/filter.tsx'
import { Free } from '../kit/free.tsx'
import { named, t, word } from '../kit/i18n.ts'
import { Block } from '../kit/problem.tsx'
import { Sign } from '../kit/sign.tsx'
import { fits } from '../kit/sorting.ts'
import { type Column, Table } from '../kit/table.tsx'
import type { Station } from '../kit/types.ts'
import { charging, choose, chosen, type Listed, listedAt, listedStations } from './city.ts'
import { ThingName } from './thing-name.tsx'

const STATES = ['live', 'late', 'unknown', 'closed'] as const

export function StationsList() {
  return (
    <Block what={t('tables.stations')} of={listedStations} retry={() => void charging.read()}>
      {(listed) => <Stations listed={listed} />}
    </Block>
  )
}

function Stations({ listed }: { listed: Listed<Station> }) {
  const [typed, type] = useState('')
  const [choice, choosing] = useState('all')
  const frozen = charging.feed.value.phase !== 'live'
  const at = listedAt.value
  const all = [...listed.items.values()]
  if (!all.length) return <p class="nothing">{t('stations.none')}</p>
  const isWanted = (station: Station) => {
    if (choice === 'all') return true
    const shown = stationShown(station, at, frozen)
    return choice === 'free' ? shown !== 'closed' && (stationCount(station, at)?.free ?? 0) > 0 : shown === choice
  }
  const wanted = all.filter((station) => fits(typed, [station.name, station.name_en, station.id, station.operator_id]) && isWanted(station))
  return (
    <div class={frozen ? 'old' : ''}>
      <Filter id="stations" typed={typed} type={type} choice={choice} choose={choosing} choices={choices()} />
      {listed.truncated && <p class="small">{t('tables.truncated')}</p>}
      <Table
        caption={t('tables.stations')}
        columns={columns(frozen, at)}
        rows={wanted}
        all={all.length}
        id={(station) => station.id}
        testId={(station) => `station-row-${station.id}`}
        order={{ column: 'free', direction: 'descending' }}
        chosen={chosen.value?.kind === 'station' ? chosen.value.id : null}
        choose={(station) => choose({ kind: 'station', id: station.id })}
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

function columns(frozen: boolean, at: number): Column<Station>[] {
  return [
    {
      id: 'name',
      head: t('stations.name'),
      by: named,
      cell: (station) => (
        <>
          <ThingName of={station} choose={() => choose({ kind: 'station', id: station.id })} />
          <span class="sub">
            {word('access', station.access)} · {station.operator_id}
          </span>
        </>
      ),
    },
    {
      id: 'state',
      head: t('places.state'),
      by: (station) => STATES.indexOf(stationShown(station, at, frozen)),
      cell: (station) => {
        const shown = stationShown(station, at, frozen)
        return (
          <span class={`shown shown-${shown}`}>
            <Sign kind="station" shown={shown} />
            <span class="shown-word">{t(`shown.${shown}`)}</span>
          </span>
        )
      },
    },
    {
      id: 'free',
      head: t('stations.free'),
      numeric: true,
      start: 'descending',
      by: (station) => (stationShown(station, at, frozen) === 'closed' ? -1 : (stationCount(station, at)?.free ?? null)),
      cell: (station) => <Free count={stationCount(station, at)} shown={stationShown(station, at, frozen)} />,
    },
    {
      id: 'status',
      head: t('stations.status'),
      onlyWide: true,
      cell: (station) => (
        <span class="evses">
          {stationView(station, at)
            .statuses.filter(([status]) => status !== 'AVAILABLE')
            .map(([status, n]) => `${word('evse', status)} ${n}`)
            .join(' · ')}
        </span>
      ),
    },
    {
      id: 'age',
      head: t('places.age'),
      numeric: true,
      start: 'descending',
      by: (station) => stationView(station, at).heardMs,
      cell: (station) => <Age at={stationView(station, at).heardMs} />,
    },
  ]
}
