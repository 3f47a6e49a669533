import { now } from '../kit/clock.ts'
import { type Language } from '../kit/choose.ts'
import { language, speak, t } from '../kit/i18n.ts'
import { paint, theme } from '../kit/theme.ts'
import { cityTime } from '../kit/time.ts'
import { hasSample, services } from './city.ts'

const LANGUAGES: readonly (readonly [Language, string])[] = [
  ['zh', '中文'],
  ['en', 'English'],
]
const THEMES = ['auto', 'light', 'dark'] as const

/** Names, whether the numbers are live, and how the page is shown. */
export function Header() {
  return (
    <header class="header">
      <div class="brand">
        <svg class="mark" viewBox="0 0 32 32" width="34" height="34" aria-hidden="true">
          <rect width="32" height="32" rx="8" fill="var(--mark)" />
          <path d="M22.6 11.4a8 8 0 1 0 1.4 4.6" fill="none" stroke="#fff" stroke-width="3.2" stroke-linecap="round" />
          <circle cx="16" cy="16" r="2.6" fill="#fff" />
        </svg>
        <div>
          <h1>
            {t('page.name')} <span class="product">CityLoop</span>
          </h1>
          <p class="about">{t('page.about')}</p>
          <p class="print-only">{t('figures.at', { time: cityTime(now.value, 'full') })}</p>
        </div>
      </div>
      {hasSample.value && (
        <span class="tag tag-sample header-tag" title={t('page.sampleWhy')}>
          {t('page.sample')}
        </span>
      )}
      <div class="header-side">
        <LiveStates />
        <LanguageSwitch />
        <ThemeSwitch />
      </div>
    </header>
  )
}

function LiveStates() {
  return (
    <ul class="states" aria-label={t('live.group')}>
      {services.map(({ service, feed }) => {
        const { phase, heardAt } = feed.value
        const words = { service: t(`service.${service}`), state: t(`live.${phase}`), time: cityTime(heardAt) }
        return (
          <li key={service} class={`state state-${phase}`} data-testid={`live-${service}`} data-phase={phase} title={t('live.title', words)}>
            <span class="dot" aria-hidden="true" />
            {words.service}
            <span class={phase === 'live' ? 'visually-hidden' : 'state-word'}> {words.state}</span>
          </li>
        )
      })}
    </ul>
  )
}

function LanguageSwitch() {
  return (
    <div class="switch" role="group" aria-label={t('language.label')} data-testid="language">
      {LANGUAGES.map(([code, name]) => (
        <button key={code} type="button" lang={code === 'zh' ? 'zh-CN' : 'en'} data-value={code} aria-pressed={language.value === code} onClick={() => speak(code)}>
          {name}
        </button>
      ))}
    </div>
  )
}

function ThemeSwitch() {
  return (
    <div class="switch" role="group" aria-label={t('theme.label')} data-testid="theme">
      {THEMES.map((each) => (
        <button key={each} type="button" data-value={each} aria-pressed={theme.value === each} onClick={() => paint(each)} title={t(`theme.${each}`)}>
          <ThemeIcon of={each} />
          <span class="visually-hidden">{t(`theme.${each}`)}</span>
        </button>
      ))}
    </div>
  )
}

function ThemeIcon({ of }: { of: (typeof THEMES)[number] }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      {of === 'light' && (
        <>
          <circle cx="8" cy="8" r="3" fill="currentColor" />
          <path d="M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8 13 13M3 13l1.2-1.2M11.8 4.2 13 3" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" />
        </>
      )}
      {of === 'dark' && <path d="M13.6 9.8A6 6 0 0 1 6.2 2.4a6 6 0 1 0 7.4 7.4z" fill="currentColor" />}
      {of === 'auto' && (
        <>
          <circle cx="8" cy="8" r="5.8" fill="none" stroke="currentColor" stroke-width="1.6" />
          <path d="M8 2.2a5.8 5.8 0 0 1 0 11.6z" fill="currentColor" />
        </>
      )}
    </svg>
  )
}
