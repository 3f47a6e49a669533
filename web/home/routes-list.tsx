import { useState } from 'preact/hooks'
import { Age } from '../kit/age.tsx'
import { Filter } from '../kit/filter.tsx'
import { kilometres } from '../kit/format.ts'
import { locale, t } from '../kit/i18n.ts'
import { Block } from '../kit/problem.tsx'
import { fits } from '../kit/sorting.ts'
import { type Column, Table } from '../kit/table.tsx'
import { StreamLine } from '../kit/stream-line.tsx'
import { STREAMS } from '../kit/streams.ts'
import { cityTime } from '../kit/time.ts'
import type { Plan, Route, RoutesToday } from '../kit/types.ts'
import { choose, chosen, listedRoutes, routeId, today, waste } from './city.ts'
import { NameButton } from './thing-name.tsx'

interface Row {
  id: string
  plan: Plan
  route: Route
}

export function RoutesList() {
  return (
    <Block what={t('tables.routes')} of={listedRoutes} retry={() => void waste.read()}>
      {(of) => <Routes of={of} />}
    </Block>
  )
}

function Routes({ of }: { of: RoutesToday }) {
  const [typed, type] = useState('')
  const [choice, choosing] = useState('all')
  const frozen = waste.feed.value.phase !== 'live'
  const all = of.plans.flatMap((plan) => plan.routes.map((route) => ({ id: routeId(plan.plan_id, route.truck), plan, route })))
  if (!all.length) {
    return (
      <p class="nothing">
        {t('routes.none', { date: of.on })} <span class="small">{t('routes.noneHint')}</span>
      </p>
    )
  }
  const wanted = all.filter((row) => (choice === 'all' || row.plan.stream === choice) && fits(typed, [row.route.truck, t(`stream.${row.plan.stream}`)]))
  return (
    <div class={frozen ? 'old' : ''}>
      <h3 class="table-day" data-testid="routes-on">
        {t('routes.on', { date: of.on })}
        {of.on !== today.value && <span class="warn"> {t('routes.old')}</span>}
      </h3>
      <Filter id="routes" typed={typed} type={type} choice={choice} choose={choosing} choices={choices(of)} />
      <Table
        caption={t('routes.on', { date: of.on })}
        columns={columns()}
        rows={wanted}
        all={all.length}
        id={(row) => row.id}
        testId={(row) => `route-row-${row.id}`}
        order={{ column: 'stream', direction: 'ascending' }}
        chosen={chosen.value?.kind === 'route' ? chosen.value.id : null}
        choose={(row) => choose({ kind: 'route', id: row.id })}
        nothing={t('tables.nothing')}
      />
      {of.plans
        .filter((plan) => plan.unserved > 0)
        .map((plan) => (
          <p key={plan.plan_id} class="small warn">
            {t(`stream.${plan.stream}`)}: {t('routes.unserved', { n: plan.unserved })}
          </p>
        ))}
    </div>
  )
}

function choices(of: RoutesToday) {
  const there = STREAMS.filter((stream) => of.plans.some((plan) => plan.stream === stream))
  return [{ id: 'all', label: t('tables.all') }, ...there.map((id) => ({ id, label: t(`stream.${id}`) }))]
}

function hours(route: Route): string {
  return `${cityTime(Date.parse(route.starts_at), 'minute')}–${cityTime(Date.parse(route.ends_at), 'minute')}`
}

function columns(): Column<Row>[] {
  return [
    {
      id: 'stream',
      head: t('routes.stream'),
      by: (row) => `${STREAMS.indexOf(row.plan.stream)} ${row.route.truck}`,
      cell: (row) => (
        <span class="route-name">
          <StreamLine stream={row.plan.stream} />
          <NameButton choose={() => choose({ kind: 'route', id: row.id })}>
            {t(`stream.${row.plan.stream}`)} {row.route.truck}
          </NameButton>
        </span>
      ),
    },
    { id: 'hours', head: t('routes.hours'), by: (row) => Date.parse(row.route.starts_at), cell: (row) => <span class="nowrap">{hours(row.route)}</span> },
    { id: 'stops', head: t('routes.stops'), numeric: true, start: 'descending', by: (row) => row.route.stops, cell: (row) => row.route.stops },
    { id: 'trips', head: t('routes.trips'), numeric: true, by: (row) => row.route.trips, cell: (row) => row.route.trips },
    {
      id: 'distance',
      head: t('routes.distance'),
      numeric: true,
      start: 'descending',
      by: (row) => row.route.distance_m,
      cell: (row) => kilometres(row.route.distance_m, locale()),
    },
    { id: 'age', head: t('routes.published'), numeric: true, start: 'descending', by: (row) => Date.parse(row.plan.published_at), cell: (row) => <Age at={row.plan.published_at} /> },
  ]
}
