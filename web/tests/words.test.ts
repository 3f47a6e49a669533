/** The two catalogues say the same things. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import en from '../words/en.json' with { type: 'json' }
import zh from '../words/zh-CN.json' with { type: 'json' }

const WEB = join(import.meta.dirname, '..')
const GROUPS = ['access', 'age', 'category', 'evse', 'kind', 'live', 'service', 'shown', 'status', 'stream', 'tables', 'theme', 'unit', 'selection.travel']

function sources(folder: string): string[] {
  return readdirSync(join(WEB, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => readFileSync(join(WEB, folder, name), 'utf8'))
}

function places(text: string): string[] {
  return (text.match(/\{\w+\}/g) ?? []).sort()
}

test('both languages have the same keys, in the same order', () => {
  assert.deepEqual(Object.keys(en), Object.keys(zh))
})

test('each text has the same places for values in both languages', () => {
  const catalogue: Record<string, string> = en
  for (const [key, text] of Object.entries(zh)) assert.deepEqual(places(catalogue[key] ?? ''), places(text), key)
})

test('no text is empty, and no English text has Chinese letters', () => {
  for (const text of [...Object.values(zh), ...Object.values(en)]) assert.notEqual(text.trim(), '')
  for (const [key, text] of Object.entries(en)) assert.doesNotMatch(text, /\p{Script=Han}/u, key)
})

test('every key is used by a page', () => {
  const code = [...sources('home'), ...sources('kit')].join('\n')
  const named = (key: string) => code.includes(`'${key}'`) || GROUPS.some((group) => key.startsWith(`${group}.`) && code.includes(`${group}`))
  assert.deepEqual(Object.keys(zh).filter((key) => !named(key)), [])
})
