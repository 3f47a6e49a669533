import { Age } from '../kit/age.tsx'
import { stationCount, stationShown, stationView } from '../kit/availability.ts'
import { t, word } from '../kit/i18n.ts'
import { Block } from '../kit/problem.tsx'
import type { Column } from '../kit/table.tsx'
import type { Station } from '../kit/types.ts'
import { charging, type Listed, listedAt, listedStations } from './city.ts'
import { freeColumn, type Looks, nameColumn, ShownList, stateColumn } from './shown-list.tsx'

export function StationsList() {
  return (
    <Block what={t('tables.stations')} of={listedStations} retry={() => void charging.read()}>
      {(listed) => <Stations listed={listed} />}
    </Block>
  )
}

function Stations({ listed }: { listed: Listed<Station> }) {
  const frozen = charging.feed.value.phase !== 'live'
  const at = listedAt.value
  const looks: Looks<Station> = {
    kind: 'station',
    shown: (station) => stationShown(station, at, frozen),
    count: (station) => stationCount(station, at),
  }
  return (
    <ShownList
      looks={looks}
      listed={listed}
      frozen={frozen}
      id="stations"
      caption={t('tables.stations')}
      none={t('stations.none')}
      texts={(station) => [station.name, station.name_en, station.id, station.operator_id]}
      columns={columns(looks, at)}
    />
  )
}

function columns(looks: Looks<Station>, at: number): Column<Station>[] {
  return [
    nameColumn(looks, t('stations.name'), (station) => (
      <>
        {word('access', station.access)} · {station.operator_id}
      </>
    )),
    stateColumn(looks),
    freeColumn(looks, t('stations.free')),
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
