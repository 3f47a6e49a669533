import { Block } from '../kit/problem.tsx'
import { t } from '../kit/i18n.ts'
import { figures, figuresInOrder, services } from './city.ts'
import { FigureRow } from './figure-row.tsx'

/** The figures of the plan, what is in trouble first. A service that fails says so and blanks no other. */
export function FiguresSection() {
  const inOrder = figuresInOrder.value
  const read = services.every(({ service }) => figures[service].value.value !== null)
  return (
    <section class="figures" aria-labelledby="figures-title">
      <div class="section-head">
        <h2 id="figures-title">{t('figures.title')}</h2>
        <p>{t('figures.order')}</p>
      </div>
      {inOrder.length > 0 && (
        <ol class="figure-list">
          {inOrder.map(({ service, known }) => (
            <FigureRow key={(known.closed ?? known.provisional)?.name} service={service} known={known} />
          ))}
        </ol>
      )}
      {services.map((each) => (
        <Block
          key={each.service}
          what={`${t('figures.title')} · ${t(`service.${each.service}`)}`}
          of={figures[each.service]}
          retry={() => void each.read()}
        >
          {() => null}
        </Block>
      ))}
      {read && !inOrder.length && <p class="nothing">{t('figures.none')}</p>}
    </section>
  )
}
