/** The words of the page in its language. Keys are those of zh-CN.json; a test holds the catalogues together. */

import { signal } from '@preact/signals'
import en from '../words/en.json' with { type: 'json' }
import zh from '../words/zh-CN.json' with { type: 'json' }
import { choiceCookie, chooseLanguage, type Language, LANGUAGE_COOKIE, withChoice } from './choose.ts'
import { fill } from './format.ts'
import { age, cityTime } from './time.ts'

export type Key = keyof typeof zh

const CATALOGUES: Record<Language, Record<Key, string>> = { zh, en }
const LOCALES: Record<Language, string> = { zh: 'zh-CN', en: 'en' }

export const language = signal<Language>(chooseLanguage(location.search, document.cookie, navigator.languages))

export function t(key: Key, values: Record<string, string | number> = {}): string {
  return fill(CATALOGUES[language.value][key], values)
}

/** A word that the services name by a code (`surface`, `CHARGING`): the code itself where the catalogue has none. */
export function word(group: string, code: string): string {
  const key = `${group}.${code}`
  return key in zh ? t(key as Key) : code
}

export function locale(): string {
  return LOCALES[language.value]
}

export function number(value: number): string {
  return value.toLocaleString(locale())
}

/** `3 min ago`. */
export function ago(atMs: number, nowMs: number): string {
  const { unit, count } = age(atMs, nowMs)
  return t(`age.${unit}`, { n: count })
}

/** The city's time in full, for a title. */
export function fullTime(atMs: number): string {
  return t('time.full', { time: cityTime(atMs, 'full') })
}

/** Of two names the one in the language of the page. */
export function named(thing: { name: string; name_en?: string | null }): string {
  return language.value === 'en' && thing.name_en ? thing.name_en : thing.name
}

/** Keeps the choice in a cookie and in the address. */
export function speak(chosen: Language): void {
  document.cookie = choiceCookie(LANGUAGE_COOKIE, chosen, location.protocol === 'https:')
  history.replaceState(null, '', withChoice(location.search, 'lang', chosen) + location.hash)
  language.value = chosen
}
