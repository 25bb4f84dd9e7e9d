import { beforeAll, describe, expect, it } from 'vitest'
import { call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'

const NAMES = ['listed-1', 'listed-2', 'listed-3', 'listed-4', 'listed-5']
let token: string
let ids: string[]

beforeAll(async () => {
  token = await operatorToken()
  ids = []
  for (const name of NAMES) ids.push(await plantTenant(name))
})

const list = (query: string) => call('', `/platform/v1/tenants${query}`, { token })

/** A cursor with other insides. */
const cursor = (text: string) => `?cursor=${encodeURIComponent(btoa(text))}`
const ID = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'

describe('the list of tenants', () => {
  it('goes through all of them, newest first, each once', async () => {
    const seen: any[] = []
    let next: string | null = ''
    while (next !== null) {
      const page = await list(`?limit=2${next && `&cursor=${encodeURIComponent(next)}`}`)
      expect(page.status).toBe(200)
      expect(Object.keys(page.body).sort()).toEqual(['data', 'next_cursor'])
      if (page.body.next_cursor !== null) expect(page.body.data).toHaveLength(2)
      seen.push(...page.body.data)
      next = page.body.next_cursor
    }
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length)
    expect(seen.map(({ id }) => id).filter((id) => ids.includes(id))).toEqual([...ids].reverse())
    const order = seen.map(({ created_at }) => created_at)
    expect(order).toEqual([...order].sort().reverse())
  })

  it('shows of each what one tenant shows, and no secret', async () => {
    const { body } = await list('?limit=100')
    const listed = body.data.find(({ id }: any) => id === ids[4])
    expect((await call('', `/platform/v1/tenants/${ids[4]}`, { token })).body).toEqual(listed)
    expect(JSON.stringify(body)).not.toMatch(/"\w*(encrypted|password|admin|_url)":|postgresql:/)
  })

  it('holds 50 when nobody says how many, and ends with null', async () => {
    const { body } = await list('')
    expect(body.data.length).toBeLessThanOrEqual(50)
    const last = await list('?limit=100')
    expect(last.body.next_cursor === null || last.body.data.length === 100).toBe(true)
  })

  it.each([
    ['1', 1],
    ['2', 2],
  ])('takes limit=%s', async (limit, length) => expect((await list(`?limit=${limit}`)).body.data).toHaveLength(length))

  it('takes limit=100', async () => expect((await list('?limit=100')).status).toBe(200))

  it.each(['101', '0', '-1', 'abc', '', '1.5', 'Infinity', '9007199254740993'])('refuses limit=%s', async (limit) => {
    const answer = await list(`?limit=${limit}`)
    expect([answer.status, answer.body.code, answer.body.errors?.[0]?.pointer]).toEqual([400, 'invalid_request', '#/query/limit'])
  })

  it('names a query parameter that it does not know', async () => {
    const answer = await list('?limit=1&colour=red')
    expect([answer.status, answer.body.code, answer.body.errors?.[0]?.pointer]).toEqual([
      400,
      'invalid_request',
      '#/query/colour',
    ])
  })

  it.each([
    ['made up', '?cursor=next'],
    ['empty', '?cursor='],
    ['not base64', '?cursor=%E2%82%AC'],
    ['of another kind', cursor('{"id":1}')],
    ['without an id', cursor('2026-11-22T00:00:00.000000Z|')],
    ['with SQL in it', cursor(`2026-11-22T00:00:00.000000Z' or true --|${ID}`)],
    ['with an id that is none', cursor('2026-11-22T00:00:00.000000Z|not-an-id-not-an-id-not-an-id-not-an')],
    ['with more behind the id', cursor(`2026-11-22T00:00:00.000000Z|${ID}|x`)],
  ])('refuses a cursor that is %s', async (_, query) => {
    const answer = await list(query)
    expect([answer.status, answer.body.code], query).toEqual([400, 'invalid_cursor'])
  })

  it.each([
    ['in the thirteenth month', cursor(`2026-13-22T00:00:00.000000Z|${ID}`)],
    ['at a quarter past ninety', cursor(`2026-11-22T90:15:00.000000Z|${ID}`)],
    ['after an id of hyphens', cursor(`2026-11-22T00:00:00.000000Z|${'-'.repeat(36)}`)],
  ])('refuses a cursor that goes on %s', async (_, query) => {
    const answer = await list(query)
    expect([answer.status, answer.body.code], query).toEqual([400, 'invalid_cursor'])
  })

  it.each([
    ['from the year 0', cursor(`0000-01-01T00:00:00.000000Z|${ID}`)],
    ['from the 30th of February', cursor(`2026-02-30T00:00:00.000000Z|${ID}`)],
  ])('refuses a cursor that goes on %s', async (_, query) => {
    const answer = await list(query)
    expect([answer.status, answer.body.code], query).toEqual([400, 'invalid_cursor'])
  })
  it('refuses a cursor with one character changed, or goes on from a real place', async () => {
    const { next_cursor } = (await list('?limit=1')).body
    for (let i = 0; i < next_cursor.length; i += 7) {
      const changed = `${next_cursor.slice(0, i)}${next_cursor[i] === 'x' ? 'y' : 'x'}${next_cursor.slice(i + 1)}`
      const answer = await list(`?limit=1&cursor=${encodeURIComponent(changed)}`)
      expect(answer.status === 200 || answer.body.code === 'invalid_cursor', `${changed}: ${JSON.stringify(answer.body)}`).toBe(
        true,
      )
    }
  })
})

describe('one tenant', () => {
  it('is not found under an id that nobody has', async () => {
    const answer = await call('', `/platform/v1/tenants/${crypto.randomUUID()}`, { token })
    expect([answer.status, answer.body.code]).toEqual([404, 'not_found'])
  })

  it.each(['listed-1', '123', `${ID}x`, '%27%20or%20true', ID.replace('-', '')])('is not asked for by %s', async (id) => {
    const answer = await call('', `/platform/v1/tenants/${id}`, { token })
    expect([answer.status, answer.body.code, answer.body.errors?.[0]?.pointer]).toEqual([400, 'invalid_request', '#/param/id'])
  })

  it('is found under its id in capitals', async () => {
    expect((await call('', `/platform/v1/tenants/${ids[0]?.toUpperCase()}`, { token })).body.id).toBe(ids[0])
  })
})
