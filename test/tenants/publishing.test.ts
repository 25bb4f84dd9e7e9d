/**
 * Two publications of one tenant at once. Threat: the one that read the master earlier writes KV later, the master says that KV has the newer
 * one, and for a day requests go by what was true before: to a database that was left, or with a key that was taken away.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { publish } from '../../src/tenants/registry/publishing.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { master, settings } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

const NAME = 'published'
let id: string
let n = 0

beforeAll(async () => {
  id = (await copyTenant(NAME)).id
  await publish({ env, config: settings(), meter: { master: 0 } }, id)
})

/** Something that happens once, and can be waited for. */
function moment() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { come: promise, let_come: resolve }
}

/** Publishes with a KV whose first `put` does something else as well. */
function publishing(first: (put: () => Promise<void>) => Promise<void>, later = (put: () => Promise<void>) => put()) {
  let puts = 0
  const put = async (key: string, value: string) => (puts++ ? later : first)(() => env.TENANTS.put(key, value))
  return publish({ env: { ...env, TENANTS: { put } as unknown as KVNamespace }, config: settings(), meter: { master: 0 } }, id)
}

const change = () => master(sql`update platform.tenants set legal_name = ${`Name ${++n}`} where id = ${id}`)
const known = async () => {
  const [row] = await master(sql`select t.v, t.published_v, t.legal_name from platform.tenants t where t.id = ${id}`)
  const kept = await env.TENANTS.get<Entry>(kvKey(NAME), 'json')
  return { v: Number(row?.v), published: Number(row?.published_v), kept: kept?.v, newest: kept?.legal_name === row?.legal_name }
}
const expectNewest = async () => {
  const { v, published, kept, newest } = await known()
  expect({ published, kept, newest }).toEqual({ published: v, kept: v, newest: true })
}

/** An older publication that has read the master, and waits before it writes KV. */
async function olderOne() {
  await change()
  const [has_read, may_write] = [moment(), moment()]
  const done = publishing(async (put) => {
    has_read.let_come()
    await may_write.come
    await put()
  })
  await has_read.come
  await change()
  return { done, go: may_write.let_come }
}

describe('an older publication that writes KV last', () => {
  it('after a newer one was recorded writes the newest entry again', async () => {
    const older = await olderOne()
    await publishing((put) => put())
    await expectNewest()
    older.go()
    await older.done
    await expectNewest()
  })

  it('and records it before the newer one does leaves that to write the newest entry again', async () => {
    const older = await olderOne()
    const [has_written, may_record] = [moment(), moment()]
    const newer = publishing(async (put) => {
      await put()
      has_written.let_come()
      await may_record.come
    })
    await has_written.come
    older.go()
    await older.done
    may_record.let_come()
    await newer
    await expectNewest()
  })

  it('and cannot write again at once is marked, and the scheduled job writes the entry', async () => {
    const older = await olderOne()
    const [has_written, may_record] = [moment(), moment()]
    const newer = publishing(
      async (put) => {
        await put()
        has_written.let_come()
        await may_record.come
      },
      async () => {
        throw new Error('KV PUT failed: 429 Too Many Requests')
      },
    )
    await has_written.come
    older.go()
    await older.done
    may_record.let_come()
    await newer
    expect(await known()).toMatchObject({ published: -1, newest: false })
    await reconcile(env, settings())
    await expectNewest()
  })
})

it('twenty publications of twenty changes at once leave the newest entry, or a mark that the scheduled job heeds', async () => {
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      await change()
      await publishing((put) => put())
    }),
  )
  await reconcile(env, settings())
  await expectNewest()
})
