/** The two catalogues say the same things. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import en from '../words/en.json' with { type: 'json' }
import zh from '../words/zh-CN.json' with { type: 'json' }

const WEB = join(import.meta.dirname, '..')
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

/** A key stands in the code as it is, or the code makes it: `stream.${id}` in a text, or word('stream', id). */
function isUsed(key: string, code: string): boolean {
  if (code.includes(`'${key}'`)) return true
  const group = key.slice(0, key.lastIndexOf('.'))
  return code.includes(`\`${group}.\${`) || code.includes(`word('${group}', `)
}

test('every key is used by a page', () => {
  const code = [...sources('home'), ...sources('kit')].join('\n')
  assert.deepEqual(Object.keys(zh).filter((key) => !isUsed(key, code)), [])
})

test('a key that nobody uses is found', () => {
  const code = "t('map.title') t(`stream.${id}`) word('unit', of.unit)"
  assert.deepEqual(['map.title', 'map.note', 'stream.kitchen', 'unit.kg', 'units.kg'].filter((key) => !isUsed(key, code)), ['map.note', 'units.kg'])
})
