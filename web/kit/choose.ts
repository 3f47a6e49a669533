/** Which language and theme a page is shown in: the address first, then what was chosen before, then what the browser says. */

export type Language = 'zh' | 'en'
export type Theme = 'light' | 'dark' | 'auto'

export const LANGUAGE_COOKIE = 'cityloop_lang'
export const THEME_COOKIE = 'cityloop_theme'

export function chooseLanguage(search: string, cookies: string, preferred: readonly string[]): Language {
  const asked = [new URLSearchParams(search).get('lang'), cookie(cookies, LANGUAGE_COOKIE)].find(isLanguage)
  if (asked) return asked
  const first = preferred.map((tag) => tag.slice(0, 2).toLowerCase()).find(isLanguage)
  return first ?? 'zh'
}

export function chooseTheme(search: string, cookies: string): Theme {
  return [new URLSearchParams(search).get('theme'), cookie(cookies, THEME_COOKIE)].find(isTheme) ?? 'auto'
}

/** The query with one choice in it, for the address bar; other parameters stay. */
export function withChoice(search: string, name: string, value: string): string {
  const query = new URLSearchParams(search)
  query.set(name, value)
  return `?${query}`
}

/** A cookie that keeps a choice for a year on this host. */
export function choiceCookie(name: string, value: string, secure: boolean): string {
  return `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Lax${secure ? '; Secure' : ''}`
}

function cookie(cookies: string, name: string): string | null {
  const found = cookies.split('; ').find((pair) => pair.startsWith(`${name}=`))
  return found ? found.slice(name.length + 1) : null
}

function isLanguage(value: string | null | undefined): value is Language {
  return value === 'zh' || value === 'en'
}

function isTheme(value: string | null | undefined): value is Theme {
  return value === 'light' || value === 'dark' || value === 'auto'
}
