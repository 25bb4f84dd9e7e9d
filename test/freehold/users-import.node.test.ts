/** The command that moves people in, against whoever answers as the API does. What the API itself does: test/users/import.test.ts. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freehold } from './run.ts'
import { stranger } from './stranger.ts'

const TOKEN = { FREEHOLD_TENANT_TOKEN: 'a.b.c' }
let folder: string
let file: string
const LINES = 20_000

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freehold-people-'))
  file = join(folder, 'people.ndjson')
  const line = (i: number) => `${JSON.stringify({ email: `p-${i}@old.test`, description: 'x'.repeat(100) })}\n`
  await writeFile(file, Array.from({ length: LINES }, (_, i) => line(i)).join(''))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

type End = { failed?: number[]; warned?: number[]; cut?: number; complete?: boolean }
const WARNING = { pointer: '#/password_hash', detail: 'has a bcrypt cost above 14' }
const asked: string[] = []
/** Answers each line as it comes, so that a client that reads only afterwards would wait for ever. */
const api =
  ({ failed = [], warned = [], cut, complete = true }: End = {}): RequestListener =>
  async (request: IncomingMessage, response: ServerResponse) => {
    asked.push(`${request.method} ${request.url} ${request.headers['content-type']} ${request.headers['x-tenant']}`)
    const lines = createInterface({ input: request })
    // What is cut off below is cut off here, too.
    lines.on('error', () => {})
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
    let n = 0
    for await (const line of lines) {
      n++
      const { email } = JSON.parse(line)
      const told = failed.includes(n)
        ? { status: 'failed', code: 'invalid_request', errors: [{ pointer: '#/role', detail: '\u001b[31mno role' }] }
        : { status: 'created', id: crypto.randomUUID(), username: email, ...(warned.includes(n) && { warnings: [WARNING] }) }
      if (!response.write(`${JSON.stringify({ line: n, ...told })}\n`)) await new Promise((done) => response.once('drain', done))
      if (n === cut) return void response.destroy()
    }
    const counts = { lines: n, created: n - failed.length, failed: failed.length }
    response.end(
      `${JSON.stringify({ summary: true, dry_run: false, ...counts, complete, ...(!complete && { detail: 'Too many.' }) })}\n`,
    )
  }
const ran = (url: string, args: string[] = [], env: Record<string, string> = TOKEN) =>
  freehold(['users', 'import', 'acme', file, '--url', url, ...args], env)

describe('users import', () => {
  test('streams a file and its answer, tells how far it is, and ends well', async () => {
    asked.length = 0
    const { code, stdout, stderr } = await stranger(api(), (url) => ran(url))
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${LINES} lines: ${LINES} created, 0 failed.\n` })
    expect(stderr.split('\n')).toContain('1000 lines, 0 failed')
    expect(asked).toEqual(['POST /api/v1/users/import?dry_run=false application/x-ndjson acme'])
  })

  test('tells each line that failed, without what would steer a terminal, and ends with 1', async () => {
    const { code, stdout, stderr } = await stranger(api({ failed: [7, 2000] }), (url) => ran(url, ['--dry-run']))
    expect({ code, stdout }).toEqual({ code: 1, stdout: `${LINES} lines: ${LINES - 2} would be created, 2 failed.\n` })
    expect(stderr).toContain('line 7: #/role no role\n')
    expect(stderr).toContain('line 2000: #/role no role\n')
    expect(asked.at(-1)).toContain('dry_run=true')
  })

  test('tells which users were created without something of their line, and does not fail for it', async () => {
    const { code, stderr } = await stranger(api({ warned: [7] }), (url) => ran(url))
    expect(code).toBe(0)
    expect(stderr.split('\n')).toContain('line 7: #/password_hash has a bcrypt cost above 14')
    const said = await stranger(api({ warned: [7] }), (url) => ran(url, ['--json']))
    expect(JSON.parse(said.stdout)).toMatchObject({ failures: [], warned: [{ line: 7, warnings: [WARNING] }] })
  })

  test('with --json prints one document, with all that failed', async () => {
    const { code, stdout } = await stranger(api({ failed: [7] }), (url) => ran(url, ['--json']))
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ lines: LINES, failed: 1, failures: [{ line: 7, code: 'invalid_request' }] })
  })

  test('ends with 1 when not all was looked at, and when the answer broke off', async () => {
    const half = await stranger(api({ complete: false }), (url) => ran(url))
    expect(half.code).toBe(1)
    expect(half.stderr).toContain('Not all of the file was processed. Too many.')
    const cut = await stranger(api({ cut: 500 }), (url) => ran(url))
    expect(cut.code).toBe(1)
    expect(cut.stderr).toContain('error:')
  })

  test('tells a refusal in its own words, and what is no file', async () => {
    const problem = { title: 'Not permitted', status: 403, code: 'forbidden', detail: 'Ask an administrator for the permission.' }
    const refusing: RequestListener = (request, response) => {
      request.resume()
      response.writeHead(403, { 'Content-Type': 'application/problem+json' }).end(JSON.stringify(problem))
    }
    const refused = await stranger(refusing, (url) => ran(url))
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('Not permitted')
    const missing = await freehold(['users', 'import', 'acme', join(folder, 'nothing')], TOKEN)
    expect(missing).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('is not a file that can be read') })
  })
})
