/** The commands on organizations, invitations and employees, against the API. What the API itself refuses: test of these rooms. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWithTenant, type WithTenant } from './one-tenant.ts'

const TENANT = 'staff-cli'
let on: WithTenant
let folder: string

beforeAll(async () => {
  on = await startWithTenant(TENANT)
  folder = await mkdtemp(join(tmpdir(), 'freehold-staff-'))
})
afterAll(async () => {
  await on?.stop()
  await rm(folder, { recursive: true, force: true })
})

const field = (stdout: string, name: string) => new RegExp(`^ +${name} +(.+)$`, 'm').exec(stdout)?.[1]
const refused = (stderr: string) => ({ code: 1, stdout: '', stderr })

describe('organizations', () => {
  test('are created, shown by name and by id, and listed', async () => {
    const made = await on.bo('organizations', 'create', 'Norte', '--user-limit', '5')
    expect([made.code, field(made.stdout, 'name'), field(made.stdout, 'user limit')]).toEqual([0, 'Norte', '5'])
    const id = String(field(made.stdout, 'id'))
    for (const name of ['norte', id]) expect((await on.bo('organizations', 'show', name)).stdout).toBe(made.stdout)
    await on.bo('organizations', 'create', 'Sur')
    const listed = JSON.parse((await on.bo('organizations', 'list', '--search', 'no', '--json')).stdout)
    expect(listed.data.map(({ name }: { name: string }) => name)).toEqual(['Norte'])
    expect((await on.bo('organizations', 'list')).stdout).toMatch(/^NAME +USERS .*\nNorte +0 +5 /)
    expect(await on.bo('organizations', 'show', 'Este')).toEqual(refused('error: There is no organization Este.\n'))
  })

  test('take a user in, and let them go', async () => {
    const member = JSON.parse((await on.bo('organizations', 'add-member', 'Norte', 'bo@staff-cli.test', '--json')).stdout)
    expect(member.is_member).toBe(true)
    expect(field((await on.bo('organizations', 'show', 'Norte')).stdout, 'users')).toBe('1')
    expect(await on.bo('organizations', 'remove-member', 'Norte', 'bo@staff-cli.test')).toEqual({
      code: 0,
      stdout: '',
      stderr: 'bo@staff-cli.test does not belong any more to Norte.\n',
    })
  })
})

describe('invitations', () => {
  test('are sent, sent again, listed and revoked, by the address', async () => {
    const made = await on.bo('invitations', 'create', 'Ann@staff-cli.test', '--role', 'user', '--organization', 'Norte', '--json')
    expect(JSON.parse(made.stdout)).toMatchObject({ email: 'ann@staff-cli.test', status: 'open', roles: ['user'] })
    expect((await on.bo('invitations', 'resend', 'ann@staff-cli.test')).stderr).toMatch(
      /^ann@staff-cli\.test is invited until \d{4}-\d\d-\d\d \d\d:\d\d \(UTC\)\.\n$/,
    )
    expect((await on.bo('invitations', 'list', '--status', 'open')).stdout).toMatch(/\nann@staff-cli\.test +open +user /)
    expect((await on.bo('invitations', 'revoke', 'ann@staff-cli.test')).code).toBe(1)
    expect(await on.bo('invitations', 'revoke', 'ann@staff-cli.test', '--yes')).toMatchObject({ code: 0 })
    expect(await on.bo('invitations', 'revoke', 'ann@staff-cli.test', '--yes')).toEqual(
      refused('error: There is no open invitation of ann@staff-cli.test.\n'),
    )
  })
})

describe('employees', () => {
  test('are imported from a CSV, first dry, and told row by row what is wrong', async () => {
    const file = join(folder, 'people.csv')
    await writeFile(
      file,
      '\ufeffdocument_type,document_number,given_names,family_name,position\r\ndni,1001,Ana,Rojas,=1+1\r\ndni,,Bea,Rojas,\r\n',
    )
    const env = { FREEHOLD_TENANT_TOKEN: on.tokens.bo }
    const run = (...more: string[]) => on.as(env, 'employees', 'import', TENANT, file, ...more)
    const dry = await run('--dry-run')
    expect([dry.code, dry.stdout]).toEqual([1, '2 lines: 1 would be created, 1 failed.\n'])
    expect(dry.stderr).toMatch(/^line 3: #\/document_number /)
    expect((await run()).stdout).toBe('2 lines: 1 created, 1 failed.\n')
    expect((await run()).stdout).toBe('2 lines: 0 created, 2 failed.\n')
    const { data } = JSON.parse((await on.bo('employees', 'list', '--json')).stdout)
    expect(data).toMatchObject([{ document_number: '1001', position: '=1+1' }])
    const lines = join(folder, 'people.ndjson')
    await writeFile(
      lines,
      JSON.stringify({ document_type: 'dni', document_number: '1002', given_names: 'Cy', family_name: 'Paz' }),
    )
    expect((await on.as(env, 'employees', 'import', TENANT, lines)).stdout).toBe('1 lines: 1 created, 0 failed.\n')
    await writeFile(file, 'name\nAna\n')
    const wrong = await run()
    expect([wrong.code, wrong.stdout]).toEqual([1, ''])
    expect(wrong.stderr).toContain('document_number')
  })

  test('are terminated, and reinstated', async () => {
    const { data } = JSON.parse((await on.bo('employees', 'list', '--search', 'rojas', '--json')).stdout)
    const [{ id }] = data
    expect((await on.bo('employees', 'terminate', id, '--reason', 'left')).code).toBe(1)
    expect((await on.bo('employees', 'terminate', id, '--reason', 'left', '--yes')).stderr).toMatch(
      /^The employment of Rojas, Ana ends at /,
    )
    expect(field((await on.bo('employees', 'show', id)).stdout, 'status')).toBe('terminated')
    expect((await on.bo('employees', 'reinstate', id)).stderr).toBe('Rojas, Ana is an employee again.\n')
  })
})
