/** Light, dark, or as the system is. */

import { computed, effect, signal } from '@preact/signals'
import { choiceCookie, chooseTheme, type Theme, THEME_COOKIE, withChoice } from './choose.ts'

export const theme = signal<Theme>(chooseTheme(location.search, document.cookie))

const system = matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(system.matches)
system.addEventListener('change', () => (systemIsDark.value = system.matches))

export const isDark = computed(() => theme.value === 'dark' || (theme.value === 'auto' && systemIsDark.value))

effect(() => {
  document.documentElement.dataset['theme'] = theme.value
})

/** Keeps the choice in a cookie and in the address. */
export function paint(chosen: Theme): void {
  document.cookie = choiceCookie(THEME_COOKIE, chosen, location.protocol === 'https:')
  history.replaceState(null, '', withChoice(location.search, 'theme', chosen) + location.hash)
  theme.value = chosen
}
