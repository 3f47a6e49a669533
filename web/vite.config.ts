import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

const WEB = dirname(fileURLToPath(import.meta.url))
const PAGES = { home: 'index.html' } // the first page; the others lie in their folders
const SMALLEST = 512 // bytes: below it, packing does not pay

/** Writes a .br and a .gz beside every file that they make smaller: the server only picks one. */
function packed(): Plugin {
  let dist = ''
  return {
    name: 'packed',
    apply: 'build',
    configResolved(config) {
      dist = resolve(config.root, config.build.outDir)
    },
    closeBundle() {
      for (const path of files(dist)) {
        const raw = readFileSync(path)
        if (raw.length < SMALLEST) continue
        const brotli = brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length } })
        for (const [ending, bytes] of [['br', brotli], ['gz', gzipSync(raw, { level: 9 })]] as const) {
          if (bytes.length < raw.length) writeFileSync(`${path}.${ending}`, bytes)
        }
      }
    },
  }
}

function files(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? files(path) : [path]
  })
}

const service = process.env['CITYLOOP_URL'] ?? 'http://127.0.0.1:8080'

export default defineConfig({
  root: WEB,
  plugins: [packed()],
  oxc: { jsx: { importSource: 'preact' } },
  build: {
    outDir: 'dist',
    target: 'es2022',
    assetsInlineLimit: 0, // nothing as a data: address that the content security policy would have to allow
    modulePreload: { polyfill: false },
    rolldownOptions: { input: Object.fromEntries(Object.entries(PAGES).map(([name, path]) => [name, join(WEB, path)])) },
  },
  server: { proxy: { '^/(parking|charging|waste)/': service, '/start': service } },
})
