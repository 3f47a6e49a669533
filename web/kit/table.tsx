import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { t } from './i18n.ts'
import { type Direction, sorted } from './sorting.ts'

export interface Column<T> {
  id: string
  head: string
  cell: (row: T) => ComponentChildren
  by?: (row: T) => string | number | null // what it is sorted by; null goes last
  start?: Direction // how the first click sorts
  numeric?: boolean
  onlyWide?: boolean // left out on a telephone
}

export interface TableProps<T> {
  caption: string
  columns: readonly Column<T>[]
  rows: readonly T[]
  all: number
  id: (row: T) => string
  testId: (row: T) => string
  order: { column: string; direction: Direction }
  chosen: string | null
  choose: (row: T) => void
  nothing: ComponentChildren
}

const AT_FIRST = 100
const MORE = 200

/** A sortable table whose rows can be chosen; long ones are shown piece by piece. */
export function Table<T>(props: TableProps<T>) {
  const [order, setOrder] = useState(props.order)
  const [most, setMost] = useState(AT_FIRST)
  const column = props.columns.find((each) => each.id === order.column)
  const rows = column?.by ? sorted(props.rows, column.by, order.direction) : props.rows
  const shown = rows.slice(0, most)
  const place = props.chosen === null ? -1 : rows.findIndex((row) => props.id(row) === props.chosen)
  if (place >= most) shown.push(...rows.slice(place, place + 1)) // what is chosen on the map is in the list
  const scroller = useRef<HTMLDivElement>(null)
  useEffect(() => bringIntoView(scroller.current), [props.chosen])
  return (
    <>
      <div class="table-scroll" ref={scroller} tabIndex={0} role="region" aria-label={props.caption}>
        <table>
          <caption class="visually-hidden">{props.caption}</caption>
          <thead>
            <tr>
              {props.columns.map((each) => (
                <Head key={each.id} column={each} order={order} set={setOrder} />
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <Row key={props.id(row)} row={row} {...props} />
            ))}
          </tbody>
        </table>
        {!rows.length && <div class="nothing">{props.nothing}</div>}
      </div>
      <p class="table-count">
        {t('tables.count', { shown: props.rows.length, all: props.all })}
        {rows.length > most && (
          <button type="button" onClick={() => setMost(most + MORE)}>
            {t('tables.more', { n: Math.min(MORE, rows.length - most) })}
          </button>
        )}
      </p>
    </>
  )
}

/** Scrolls the table, never the page. */
function bringIntoView(scroller: HTMLElement | null): void {
  const row = scroller?.querySelector<HTMLElement>('tr.chosen')
  if (!scroller || !row || scroller.scrollHeight <= scroller.clientHeight) return
  const head = scroller.querySelector('thead')?.offsetHeight ?? 0
  const [top, bottom] = [row.offsetTop, row.offsetTop + row.offsetHeight]
  if (top - head < scroller.scrollTop || bottom > scroller.scrollTop + scroller.clientHeight) {
    scroller.scrollTop = top - head - (scroller.clientHeight - head - row.offsetHeight) / 2
  }
}

function Head<T>(props: { column: Column<T>; order: { column: string; direction: Direction }; set: (order: { column: string; direction: Direction }) => void }) {
  const { column, order } = props
  const sorts = order.column === column.id ? order.direction : null
  const turn = () => props.set({ column: column.id, direction: sorts ? (sorts === 'ascending' ? 'descending' : 'ascending') : (column.start ?? 'ascending') })
  return (
    <th scope="col" class={classes(column)} aria-sort={sorts ?? undefined} data-head={column.head}>
      {column.by ? (
        <button type="button" class="sort" onClick={turn} title={t('tables.sort', { column: column.head })}>
          {column.head}
          <span class={`arrow ${sorts ?? ''}`} aria-hidden="true" />
        </button>
      ) : (
        column.head
      )}
    </th>
  )
}

function classes<T>(column: Column<T>): string {
  return [column.numeric && 'numeric', column.onlyWide && 'only-wide'].filter(Boolean).join(' ')
}

function Row<T>({ row, ...props }: TableProps<T> & { row: T }) {
  const isChosen = props.id(row) === props.chosen
  return (
    <tr
      data-testid={props.testId(row)}
      data-row={props.id(row)}
      class={isChosen ? 'chosen' : ''}
      aria-current={isChosen ? 'true' : undefined}
      onClick={() => props.choose(row)}
    >
      {props.columns.map((column, number) =>
        number === 0 ? (
          <th scope="row" key={column.id}>
            {column.cell(row)}
          </th>
        ) : (
          <td key={column.id} class={classes(column)}>
            {column.cell(row)}
          </td>
        ),
      )}
    </tr>
  )
}
