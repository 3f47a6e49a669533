/** The address decides, then the cookie, then the browser. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choiceCookie, chooseLanguage, chooseTheme, withChoice } from '../kit/choose.ts'

test('the address goes before the cookie, the cookie before the browser', () => {
  assert.equal(chooseLanguage('?lang=en', 'cityloop_lang=zh', ['zh-CN']), 'en')
  assert.equal(chooseLanguage('', 'a=b; cityloop_lang=en', ['zh-CN']), 'en')
  assert.equal(chooseLanguage('', '', ['en-GB', 'zh']), 'en')
})

test('what nobody offers is skipped: the next preference, then Chinese', () => {
  assert.equal(chooseLanguage('?lang=fr', 'cityloop_lang=xx', ['de', 'en']), 'en')
  assert.equal(chooseLanguage('', '', ['de']), 'zh')
})

test('a theme is light, dark or as the system is', () => {
  assert.equal(chooseTheme('?theme=dark', 'cityloop_theme=light'), 'dark')
  assert.equal(chooseTheme('?theme=pink', 'cityloop_theme=light'), 'light')
  assert.equal(chooseTheme('', ''), 'auto')
})

test('a choice joins the query and leaves the rest', () => {
  assert.equal(withChoice('?lang=zh&theme=dark', 'lang', 'en'), '?lang=en&theme=dark')
})

test('a cookie of this host alone, for a year', () => {
  assert.equal(choiceCookie('cityloop_lang', 'zh', false), 'cityloop_lang=zh; Path=/; Max-Age=31536000; SameSite=Lax')
  assert.match(choiceCookie('cityloop_lang', 'zh', true), /; Secure$/)
})
