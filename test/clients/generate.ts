/**
 * Generates a client with each tool: `node generate.ts DOCUMENT FOLDER URL`. In a process of its own, because two of them need the
 * TypeScript that has an API in JavaScript.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'

const [document = '', folder = '', url = ''] = process.argv.slice(2)
registerHooks({ resolve: (name, context, next) => next(name === 'typescript' ? 'typescript-5' : name, context) })

const { default: typesOf, astToString } = await import('openapi-typescript')
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, 'paths.d.ts'), astToString(await typesOf(JSON.parse(readFileSync(document, 'utf8')))))

const { createClient } = await import('@hey-api/openapi-ts')
await createClient({
  input: document,
  output: { path: join(folder, 'hey-api') },
  plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
  logs: { level: 'warn' },
})

const { generate } = await import('orval')
const input = { target: document }
await generate({
  input,
  output: { target: join(folder, 'orval.ts'), client: 'fetch', mode: 'single', headers: true, baseUrl: url },
})
await generate({ input, output: { target: join(folder, 'orval-zod.ts'), client: 'zod', mode: 'single' } })
