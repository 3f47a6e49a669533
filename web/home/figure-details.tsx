import { useEffect, useRef, useState } from 'preact/hooks'
import { VerdictIcon } from '../kit/icons.tsx'
import { named, number, t, word } from '../kit/i18n.ts'
import { headline, verdict } from '../kit/judging.ts'
import { Block } from '../kit/problem.tsx'
import { emptyResource } from '../kit/live.ts'
import { readInto } from '../kit/resource.ts'
import { cityTime } from '../kit/time.ts'
import type { DistrictFigure, Figure, Indicator, Service } from '../kit/types.ts'
import { today } from './city.ts'
import { shownCounts, shownTitle, shownValue, shownVerdict } from './figure-words.ts'

/** Districts, ways to count, formula and source: read when they are asked for. */
export function FigureDetails({ service, indicator }: { service: Service; indicator: Indicator }) {
  const [resource] = useState(() => emptyResource<Indicator>())
  const details = useRef<HTMLDetailsElement>(null)
  const read = () => void readInto(resource, [`/${service}/v1/indicators/${indicator.name}`])
  const again = () => details.current?.open && read()
  const figure = headline(indicator)
  useEffect(() => void again(), [figure.numerator, figure.denominator])
  return (
    <details class="more" ref={details} onToggle={again}>
      <summary>{t('figures.details')}</summary>
      <Block what={shownTitle(indicator)} of={resource} retry={read}>
        {(full) => (
          <div class="figure-more">
            <Districts of={full} />
            <Schemes of={full} />
            <dl class="facts">
              <dt>{t('figures.formula')}</dt>
              <dd lang="en">{full.formula}</dd>
              <dt>{t('figures.source')}</dt>
              <dd lang="en">{full.source}</dd>
              <Published of={full} />
            </dl>
          </div>
        )}
      </Block>
    </details>
  )
}

function Districts({ of }: { of: Indicator }) {
  const districts = headline(of).districts ?? []
  return (
    <div>
      <h4>{t('figures.byDistrict')}</h4>
      {districts.length ? (
        <FigureTable of={of} head={t('figures.district')} rows={districts.map((each) => [districtName(each), each])} />
      ) : (
        <p class="small">{t('figures.noDistricts')}</p>
      )}
    </div>
  )
}

function Schemes({ of }: { of: Indicator }) {
  return (
    <div>
      <h4>{t('figures.bySchemes')}</h4>
      <FigureTable of={of} head={t('figures.scheme')} rows={of.schemes.map((each) => [shownTitle(each), each])} />
    </div>
  )
}

function FigureTable({ of, head, rows }: { of: Indicator; head: string; rows: readonly (readonly [string, Figure])[] }) {
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label={`${shownTitle(of)}: ${head}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">{head}</th>
            <th scope="col" class="numeric">{t('figures.value')}</th>
            <th scope="col" class="numeric">{t('figures.counted')}</th>
            <th scope="col" class="numeric">{t('figures.gapIn', { unit: word('unit', of.unit) })}</th>
            <th scope="col">{t('figures.status')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, figure]) => {
            const says = verdict(figure, of.deadline, today.value)
            return (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td class="numeric">{shownValue(of, figure)}</td>
                <td class="numeric">{shownCounts(of, figure)}</td>
                <td class="numeric">{figure.gap === null ? '—' : number(figure.gap)}</td>
                <td>
                  <span class={`verdict verdict-${says}`}>
                    <VerdictIcon of={says} />
                    {shownVerdict(says, of.better)}
                  </span>
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

function Published({ of }: { of: Indicator }) {
  const published = headline(of).published
  if (!published) return null
  return (
    <>
      <dt>{t('figures.published')}</dt>
      <dd>
        {shownValue(of, published)} · {cityTime(Date.parse(published.known_at), 'full')}
      </dd>
    </>
  )
}

function districtName(district: DistrictFigure): string {
  if (!district.id) return t('figures.noDistrict')
  return district.name ? named({ name: district.name, name_en: district.name_en }) : district.id
}
