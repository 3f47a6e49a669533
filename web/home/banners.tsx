import { t } from '../kit/i18n.ts'
import { cityDay, cityTime } from '../kit/time.ts'
import { services, today } from './city.ts'

/** Says of each service that is not live since when its numbers stand still. */
export function Banners() {
  const still = services.filter(({ feed }) => feed.value.phase === 'frozen' || feed.value.phase === 'away')
  return (
    <div class="banners" role="status" aria-live="polite">
      {still.map(({ service, feed }) => {
        const { phase, since } = feed.value
        const words = { service: t(`service.${service}`), time: cityTime(since, cityDay(since) === today.value ? 'clock' : 'full') }
        return (
          <p key={service} class={`banner banner-${phase}`} data-testid={phase === 'frozen' ? 'frozen' : 'away'} data-service={service}>
            {t(phase === 'frozen' ? 'frozen.text' : 'away.text', words)}
          </p>
        )
      })}
    </div>
  )
}
