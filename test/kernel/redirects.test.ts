/**
 * Threat: what is asked with a secret answers with a redirect, and the secret goes on to a host that nobody chose. Nobody is mocked:
 * a server sends everybody on to another address, which notes the headers of who arrives.
 */
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { configOf } from '../../src/kernel/config.ts'
import { batch, dbError, toProblem, useSqlUrl } from '../../src/kernel/db.ts'
import { Problem } from '../../src/kernel/problem.ts'
import { webhook } from '../../src/mail/transports/webhook.ts'
import { neonApi, neonWords } from '../../src/tenants/provisioning/neon.ts'
import { knockElsewhere } from '../support/elsewhere.ts'

const { at } = inject('crossroads')
const settings = inject('settings')
const REDIRECTS = [301, 302, 303, 307, 308]
const DATABASE = 'postgresql://somebody:Sesame-Secret@db.example/anything'
const newName = () => crypto.randomUUID()
const arrivedAt = async (name: string): Promise<{ headers: Record<string, string> }[]> =>
  (await fetch(`${at}/seen/${name}`)).json()

afterEach(() => useSqlUrl(settings.NEON_SQL_URL))

it('a client that follows takes its headers along: what is claimed below could fail', async () => {
  const name = newName()
  const headers = { Authorization: 'Bearer key', 'Neon-Connection-String': DATABASE }
  await (await fetch(`${at}/307/${name}`, { method: 'POST', headers, body: '{}' })).text()
  const [seen] = await arrivedAt(name)
  expect(seen?.headers['neon-connection-string']).toBe(DATABASE)
})

describe.each(REDIRECTS)('a redirect %i', (status) => {
  it('of a database is a database that does not answer, and its connection string goes nowhere', async () => {
    const name = newName()
    useSqlUrl(`${at}/${status}/${name}`)
    const error: unknown = await batch(DATABASE, [sql`select 1`]).catch((failure) => failure)
    expect(dbError(error)?.message).toContain(`it answers ${status}, and redirects are not followed`)
    expect(String(error) + dbError(error)?.message).not.toMatch(/Sesame|somebody|db\.example|127\.0\.0/)
    expect(toProblem(error)).toEqual(new Problem('database_unavailable'))
    expect(await arrivedAt(name)).toEqual([])
  })

  it('of Neon’s API is a failed call, and its key goes nowhere', async () => {
    const name = newName()
    const config = { ...configOf(settings), NEON_API_KEY: 'Sesame-Secret', NEON_API_URL: `${at}/${status}/${name}` }
    const error: unknown = await neonApi(config)
      .projects.list()
      .page()
      .catch((failure) => failure)
    expect(neonWords(error)).toContain(`Neon answered ${status}`)
    expect(neonWords(error)).not.toContain('Sesame')
    expect(await arrivedAt(name)).toEqual([])
  })

  it('of the hook for phones is a wrong setting, and its token goes nowhere', async () => {
    const name = newName()
    const from = { name: null, address: 'a@b.test' }
    const text = { id: newName(), from, to: '+51987654321', subject: '', text: 'Some text', html: '' }
    const verdict = await webhook(`${at}/${status}/${name}`, 'hook-token').send(text)
    expect(verdict).toEqual({ outcome: 'unavailable', detail: `SMS_WEBHOOK_URL answered ${status}: go on` })
    expect(await arrivedAt(name)).toEqual([])
  })
})

it('the Worker answers 503 for a master that redirects, and tells nothing of it', async () => {
  const name = newName()
  const changed = { MASTER_DATABASE_URL: DATABASE, NEON_SQL_URL: `${at}/307/${name}` }
  const answer = await knockElsewhere(changed, 'http://freehold.test/readyz')
  expect([answer.status, answer.body.code]).toEqual([503, 'database_unavailable'])
  expect(answer.text).not.toMatch(/Sesame|somebody|db\.example|redirect|127\.0\.0/)
  expect(await arrivedAt(name)).toEqual([])
})
