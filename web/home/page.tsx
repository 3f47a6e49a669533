import { t } from '../kit/i18n.ts'
import { Banners } from './banners.tsx'
import { hasSample } from './city.ts'
import { FiguresSection } from './figures.tsx'
import { Header } from './header.tsx'
import { Lists } from './lists.tsx'
import { MapSection } from './map-section.tsx'

const INTERFACES = ['parking', 'charging', 'waste'] as const

/** The city at a glance. */
export function Page() {
  return (
    <>
      <a class="skip" href="#content">
        {t('page.skip')}
      </a>
      <Header />
      <Banners />
      <main id="content" tabIndex={-1}>
        <FiguresSection />
        <div class="city">
          <MapSection />
          <Lists />
        </div>
      </main>
      <footer class="footer">
        <p>
          {t('page.footer')} {hasSample.value && t('page.sampleWhy')}
        </p>
        <nav aria-label={t('page.interfaces')}>
          {INTERFACES.map((service) => (
            <a key={service} href={`/${service}/v1/docs`}>
              {t(`service.${service}`)} API
            </a>
          ))}
        </nav>
      </footer>
    </>
  )
}
