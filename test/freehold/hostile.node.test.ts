/**
 * Threat: a server, or somebody who chose a name there, moves the cursor of an operator's terminal, changes its title or what was printed
 * before, or turns a line around: the operator confirms something else than they read.
 */
import { describe, expect, test } from 'vitest'
import { harmless, plain } from '../../scripts/freehold/output.ts'
import { freehold } from './run.ts'
import { stranger } from './stranger.ts'

/** A title, a cleared screen in seven bits and in eight, a line that is turned around, a bell, a line that is overwritten. */
const EVIL = 'x\u001b]0;t\u0007\u001b[2J\u009b2J\u202ey\u0007\rz\u007f'
/** What a terminal acts on, but for line breaks. */
const ACTED_ON = /(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/u

const ID = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'
const AT = '2026-01-01T00:00:00Z'
const TENANT = {
  id: ID,
  subdomain: `acme${EVIL}`,
  url: `https://acme.id.acme.dev/${EVIL}`,
  legal_name: EVIL,
  tax_id: EVIL,
  country: EVIL,
  region: EVIL,
  admin_email: EVIL,
  contact_name: EVIL,
  plan: EVIL,
  environment: EVIL,
  status: 'active',
  isolation: 'database',
  role_preset: EVIL,
  database_name: EVIL,
  schema_version: EVIL,
  database_error: EVIL,
  created_at: AT,
}
const USER = {
  id: ID,
  username: EVIL,
  email: EVIL,
  given_name: EVIL,
  family_name: EVIL,
  phone: EVIL,
  role: EVIL,
  roles: [EVIL],
  unit_id: null,
  manager_id: null,
  designation: EVIL,
  is_active: true,
  must_change_password: false,
  locale: EVIL,
  timezone: EVIL,
  created_at: AT,
}
const WHO = {
  username: EVIL,
  tenant: { subdomain: EVIL, url: EVIL },
  roles: [EVIL],
  permissions: [],
  session: { expires_at: EVIL },
}

/** What the stranger answers at a path: one, or a list of it. */
function answered(url: string): object {
  const path = new URL(url, 'http://x').pathname
  const one = path.includes('/auth/whoami') ? WHO : /\/(users|operators)/.test(path) ? USER : TENANT
  return path.endsWith(ID) || path.includes('/auth/') || /\/(de)?activate$/.test(path) ? one : { data: [one], next_cursor: null }
}

const run = (args: string[]) =>
  stranger(
    (request, response) => {
      response.setHeader('Content-Type', 'application/json')
      response.end(JSON.stringify(answered(request.url ?? '')))
    },
    (url) => freehold(args, { FREEHOLD_URL: url, FREEHOLD_TOKEN: 'a.b.c', FREEHOLD_TENANT_TOKEN: 'a.b.c' }),
  )

describe('text of a server', () => {
  test.for([
    'tenants list',
    `tenants show ${ID}`,
    `tenants deactivate ${ID}`,
    `tenants change ${ID} --plan x`,
    `tenants rename ${ID} beta`,
    'operators list',
    `operators show ${ID}`,
    `operators deactivate ${ID}`,
    `users show ${ID} --tenant acme`,
    'whoami',
    `open ${ID}`,
  ])('reaches the terminal without what it acts on: freehold %s', async (line) => {
    const { stdout, stderr } = await run(line.split(' '))
    expect(stdout + stderr).toMatch(/\S/)
    expect(stdout + stderr).not.toMatch(ACTED_ON)
  })

  test('is whole in a document of --json, in characters that no terminal acts on', async () => {
    const { stdout } = await run(['tenants', 'list', '--json'])
    expect(stdout).not.toMatch(ACTED_ON)
    expect(JSON.parse(stdout).data[0].legal_name).toBe(EVIL)
  })

  test('is one line and harmless in a question', async () => {
    const { code, stderr } = await run(['tenants', 'delete', ID])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: Delete acme[^\n]*\n$/)
    expect(stderr).not.toMatch(ACTED_ON)
  })

  test('is harmless in a problem, also in its fields and where it is no problem of ours', async () => {
    for (const [type, body] of [
      [
        'application/problem+json',
        { title: EVIL, detail: EVIL, code: EVIL, trace_id: EVIL, errors: [{ pointer: EVIL, detail: EVIL }] },
      ],
      ['text/plain', EVIL],
    ] as const) {
      const { code, stderr } = await stranger(
        (_, response) => void response.writeHead(400, { 'Content-Type': type }).end(JSON.stringify(body)),
        (url) => freehold(['tenants', 'list'], { FREEHOLD_URL: url, FREEHOLD_TOKEN: 'a.b.c' }),
      )
      expect([code, stderr]).toEqual([1, expect.not.stringMatching(ACTED_ON)])
    }
  })
})

test('what is printed keeps lines, tabs and our own colours, and nothing else that a terminal acts on', () => {
  expect(harmless('a\n\tb\u001b[32mc\u001b[39m')).toBe('a\n\tb\u001b[32mc\u001b[39m')
  expect(harmless(EVIL)).not.toMatch(ACTED_ON)
  expect(harmless('\u001b[8mhidden\u001b[1;31m')).toBe('[8mhidden[1;31m')
  expect(plain('a\nb\u202ec')).toBe('a b c')
})
