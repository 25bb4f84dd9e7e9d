/**
 * The chain over the record. Threat: who can write a tenant's database, and take the triggers away, makes what happened not have happened. Here
 * their owner does, and everything but what access.erase_detail erased is found.
 */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { verifyChain } from '../../src/audit/verify.ts'
import { checkpointAudit, verifyAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { runMaintenance } from '../../src/tenants/maintenance/maintenance.ts'
import { type Database, databaseOf, maintainNext, master, refusalOf, rowsOf, settings } from '../support/databases.ts'
import { login } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'chained'
let tenant: Database
/** All of the audit as it was, to be put back after each damage. */
const kept: Record<string, unknown> = {}
const TABLES = ['audit_log', 'audit_detail', 'audit_checkpoints']

/** As who owns the tables and takes their triggers away. */
const damage = (...statements: string[]) => {
  const triggers = (how: string) => TABLES.map((table) => sql.raw(`alter table freehold.${table} ${how} trigger user`))
  return rowsOf(
    tenant.owner_url,
    sql`set local role freehold_owner`,
    ...triggers('disable'),
    ...statements.map((text) => sql.raw(text)),
  ).finally(() => rowsOf(tenant.owner_url, sql`set local role freehold_owner`, ...triggers('enable')))
}

const record = (what: string) => tenant.asOwner(sql`select access.record(${what}, 'do', 'thing', ${what}, null, '{"a": 1}')`)
const checkpoint = () => checkpointAudit(settings(), AT)
const verdict = () => verifyAudit(settings(), AT)
/** Seals until nothing is left: another test's transaction on the same server may be the oldest one for a moment. */
async function checkpointAll(how: () => Promise<unknown> = checkpoint) {
  for (let i = 0; i < 100; i++) {
    await how()
    if ((await verdict()).pending === 0) return
    await scheduler.wait(30)
  }
}
const head = async () =>
  (await master(sql`select no, hash, entries::integer from platform.audit_heads where realm_id = ${tenant.id}`))[0]
const kinds = async () => (await verdict()).faults.map(({ kind, checkpoint: no }) => [kind, no])

beforeAll(async () => {
  await copyTenant(AT)
  tenant = await databaseOf(AT)
  for (const what of ['FIRST', 'SECOND', 'THIRD', 'FOURTH']) {
    await record(what)
    await record(`${what}_TOO`)
    await checkpointAll()
  }
  for (const table of TABLES) {
    const [row] = await tenant.asOwner(sql.raw(`select jsonb_agg(to_jsonb(t)) as all from freehold.${table} t`))
    kept[table] = row?.all
  }
  const [row] = await master(sql`select to_jsonb(h) as all from platform.audit_heads h where realm_id = ${tenant.id}`)
  kept.head = row?.all
})

afterEach(async () => {
  const put = (table: string) =>
    `insert into freehold.${table} select * from jsonb_populate_recordset(null::freehold.${table}, $kept$${JSON.stringify(kept[table])}$kept$::jsonb)`
  await damage(...TABLES.flatMap((table) => [`delete from freehold.${table}`, put(table)]))
  await master(
    sql`delete from platform.audit_heads where realm_id = ${tenant.id}`,
    sql`insert into platform.audit_heads select * from jsonb_populate_record(null::platform.audit_heads, ${JSON.stringify(kept.head)}::jsonb)`,
  )
})

describe('sealing', () => {
  it('covers every entry once, and the master knows the newest checkpoint', async () => {
    const found = await verdict()
    expect(found).toMatchObject({ intact: true, pending: 0, erased: 0, faults: [] })
    const [row] = await tenant.asOwner(
      sql`select (select count(*)::integer from freehold.audit_log) as entries, (select max(no) from freehold.audit_checkpoints) as checkpoint, (select sum(entries)::integer from freehold.audit_checkpoints) as sealed`,
    )
    expect(row).toEqual({ entries: found.entries, checkpoint: found.checkpoint, sealed: found.entries })
    expect(await head()).toMatchObject({ no: found.checkpoint, entries: found.entries })
    expect(found.head).toMatchObject({ no: found.checkpoint, entries: found.entries })
  })

  it('of nothing new makes no checkpoint and moves no head', async () => {
    const before = [await head(), await tenant.asOwner(sql`select count(*) from freehold.audit_checkpoints`)]
    expect(await checkpoint()).toBe(0)
    expect([await head(), await tenant.asOwner(sql`select count(*) from freehold.audit_checkpoints`)]).toEqual(before)
  })

  it('leaves what a running transaction may still add to, and takes it when that has ended', async () => {
    const slow = tenant.asOwner(sql`select access.record('SLOW', 'do', 'thing', null, null, null)`, sql`select pg_sleep(1)`)
    await scheduler.wait(250)
    await record('QUICK')
    await checkpoint()
    // With it what the schedule, which other tests run, writes at that moment.
    const open = await tenant.asOwner(sql`select activity_type from freehold.audit_log where checkpoint is null`)
    expect(open.map((row) => row.activity_type)).toContain('QUICK')
    expect(await verdict()).toMatchObject({ intact: true, pending: open.length })
    await slow
    await checkpointAll()
    expect(await verdict()).toMatchObject({ intact: true, pending: 0 })
  })

  it('by four at once makes one chain', async () => {
    await Promise.all(Array.from({ length: 8 }, (_, i) => record(`AT_ONCE_${i}`)))
    await Promise.all(Array.from({ length: 4 }, checkpoint))
    await checkpointAll()
    expect(await verdict()).toMatchObject({ intact: true, pending: 0 })
  })

  it('an older head never replaces a newer one', async () => {
    await master(sql`update platform.audit_heads set no = no + 10 where realm_id = ${tenant.id}`)
    const before = await head()
    await record('LATE')
    await checkpoint()
    expect(await head()).toEqual(before)
  })

  it('every minute, of every tenant and of the platform itself, though one is away', async () => {
    await copyTenant('chained-away')
    const away = await databaseOf('chained-away')
    const [row] = await master(sql`select owner_url_encrypted from platform.tenants where id = ${away.id}`)
    await master(sql`update platform.tenants set owner_url_encrypted = 'k1.AAAAAAAAAAAAAAAA.AAAA' where id = ${away.id}`)
    await record('SCHEDULED')
    await maintainNext(tenant.id)
    const before = (await head())?.no
    await checkpointAll(() => runMaintenance(settings()))
    await master(sql`update platform.tenants set owner_url_encrypted = ${row?.owner_url_encrypted} where id = ${away.id}`)
    expect((await head())?.no).toBeGreaterThan(before)
    const platform = await verifyAudit(settings(), 'platform')
    expect(platform).toMatchObject({ intact: true, faults: [] })
    expect(platform.checkpoint).toBeGreaterThan(0)
    expect(platform.head?.no).toBeGreaterThan(0)
  })
})

describe('is found:', () => {
  const FIRST = "(select id from freehold.audit_log where activity_type = 'SECOND')"
  const inSeal = async () =>
    Number((await tenant.asOwner(sql`select checkpoint from freehold.audit_log where activity_type = 'SECOND'`))[0]?.checkpoint)

  it.each([
    ['who', 'user_id = gen_random_uuid()'],
    ['what', "activity_type = 'OTHER'"],
    ['on what', "resource_id = 'other'"],
    ['when', "at = at + interval '1 microsecond'"],
    ['how risky', 'risk_score = 99'],
    ['under which trace', "trace_id = 'x'"],
  ])('a changed row (%s)', async (_, change) => {
    const no = await inSeal()
    await damage(`update freehold.audit_log set ${change} where id = ${FIRST}`)
    expect(await kinds()).toEqual([['changed', no]])
  })

  it('a changed row whose hash was made to fit its changed detail', async () => {
    const no = await inSeal()
    await damage(
      `update freehold.audit_detail set after = '{"a": 2}' where log_id = ${FIRST}`,
      `update freehold.audit_log l set detail_hash = sha256(d.salt || convert_to(jsonb_build_object('user_name', d.user_name, 'address', d.address, 'agent', d.agent, 'method', d.method, 'path', d.path, 'before', d.before, 'after', d.after)::text, 'UTF8'))
       from freehold.audit_detail d where d.log_id = l.id and l.id = ${FIRST}`,
    )
    expect(await kinds()).toEqual([['changed', no]])
  })

  it.each([
    'after = \'{"a": 2}\'',
    "user_name = 'mallory'",
    "address = '192.0.2.3'",
    "before = '{}'",
    'salt = sha256(salt)',
    'api_key_id = gen_random_uuid()',
    'impersonator_id = gen_random_uuid()',
  ])('a changed detail (%s), and of which row', async (change) => {
    const no = await inSeal()
    const [row] = await damage(`update freehold.audit_detail set ${change} where log_id = ${FIRST} returning log_id`)
    expect((await verdict()).faults).toEqual([
      expect.objectContaining({ kind: 'changed_detail', checkpoint: no, id: row?.log_id }),
    ])
  })

  it('a removed row', async () => {
    const no = await inSeal()
    await damage(`delete from freehold.audit_log where id = ${FIRST}`)
    expect(await kinds()).toEqual([['removed', no]])
  })

  it('a row taken out of its checkpoint, to be sealed anew', async () => {
    const no = await inSeal()
    await damage(`update freehold.audit_log set checkpoint = null where id = ${FIRST}`)
    await checkpoint()
    expect(await kinds()).toContainEqual(['removed', no])
  })

  it('an added row', async () => {
    const no = await inSeal()
    await damage(
      `insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash, checkpoint) values (gen_random_uuid(), 'X', 'x', 'x', '', ${no})`,
    )
    expect(await kinds()).toContainEqual(['added', no])
  })

  describe('a row of a time that is over', () => {
    const plant = (columns: string, values: string) =>
      damage(
        `insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash${columns}) values (gen_random_uuid(), 'LOGIN', 'create', 'session', ''${values})`,
      )
    const forged = async () => (await verdict()).faults.filter(({ kind }) => kind === 'forged')

    it.each([
      ['dated 2020', ', at', ", '2020-01-01'"],
      ['dated an hour ago', ', at', ", now() - interval '1 hour'"],
      ['dated tomorrow', ', at', ", now() + interval '1 day'"],
      [
        'of a transaction of then',
        ', at, xid',
        ', (select at from freehold.audit_log where checkpoint = 2 limit 1), (select xid from freehold.audit_log where checkpoint = 2 limit 1)',
      ],
    ])('%s, before it is sealed and after', async (_, columns, values) => {
      await plant(columns, values)
      const [row] = await tenant.asOwner(sql`select id from freehold.audit_log where detail_hash = ''`)
      expect(await forged()).toEqual([expect.objectContaining({ id: row?.id, checkpoint: null })])
      // Sealed once no transaction that was open then is: those of other tests' databases count, too.
      const sealed = async () => {
        await tenant.asOwner(sql`select access.checkpoint_audit(1000)`)
        const [{ checkpoint } = {} as never] = await tenant.asOwner(
          sql`select checkpoint from freehold.audit_log where id = ${row?.id}`,
        )
        return checkpoint
      }
      await vi.waitUntil(sealed, 10_000)
      expect(await forged()).toEqual([expect.objectContaining({ id: row?.id, checkpoint: (await verdict()).checkpoint })])
    })

    it('of the first minute of a tenant, when there is no checkpoint yet', async () => {
      await copyTenant('chained-new')
      const fresh = await databaseOf('chained-new')
      await rowsOf(
        fresh.owner_url,
        sql`set local role freehold_owner`,
        sql`alter table freehold.audit_log disable trigger user`,
        sql`insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash, at) values (gen_random_uuid(), 'LOGIN', 'create', 'session', '', '2020-01-01')`,
        sql`alter table freehold.audit_log enable trigger user`,
      )
      const { faults } = await verifyAudit(settings(), 'chained-new')
      expect(faults.map(({ kind }) => kind)).toContain('forged')
    })

    it('under a checkpoint that was made by hand, dated to fit', async () => {
      const no = (await verdict()).checkpoint + 1
      await plant(', at, checkpoint', `, '2020-01-01', ${no}`)
      await damage(
        `with s as (select ${no} as no, 1 as entries, p.oldest_xid, p.next_xid + 10 as next_xid, timestamptz '2020-01-02' as created_at, p.hash from freehold.audit_checkpoints p where p.no = ${no - 1})
         insert into freehold.audit_checkpoints (no, entries, oldest_xid, next_xid, created_at, hash)
         select s.no, s.entries, s.oldest_xid, s.next_xid, s.created_at, sha256(s.hash || access.canonical_checkpoint((s.no, s.entries, null, s.created_at, s.oldest_xid, s.next_xid)) || access.canonical_entry(l))
         from s, freehold.audit_log l where l.checkpoint = ${no}`,
      )
      expect(await kinds()).toContainEqual(['forged', no])
      expect(await kinds()).not.toContainEqual(['changed', no])
    })

    it.each([
      ['created_at', "created_at - interval '2 hours'"],
      ['next_xid', 'next_xid - 1'],
      ['oldest_xid', 'null'],
    ])('and a checkpoint whose %s was changed, to make room', async (column, value) => {
      await damage(`update freehold.audit_checkpoints set ${column} = ${value} where no = 2`)
      expect(await kinds()).toContainEqual(['changed', 2])
    })
  })

  it('a removed row whose checkpoint was told to count one less', async () => {
    const no = await inSeal()
    await damage(
      `delete from freehold.audit_log where id = ${FIRST}`,
      `update freehold.audit_checkpoints set entries = entries - 1 where no = ${no}`,
    )
    expect(await kinds()).toEqual([['changed', no]])
  })

  it('a missing checkpoint, with its entries or without', async () => {
    const no = await inSeal()
    await damage(`delete from freehold.audit_checkpoints where no = ${no}`)
    expect(await kinds()).toEqual([['missing_checkpoint', no]])
    await damage(`delete from freehold.audit_log where checkpoint = ${no}`)
    expect(await kinds()).toEqual([['missing_checkpoint', no]])
  })

  it('a tail that was cut off, and it stays found when the chain is gone on with', async () => {
    const newest = (await verdict()).checkpoint
    await damage(
      `delete from freehold.audit_log where checkpoint >= ${newest}`,
      `delete from freehold.audit_checkpoints where no >= ${newest}`,
    )
    expect(await kinds()).toEqual([['cut_off', newest]])
    await record('AFTERWARDS')
    expect(await checkpoint()).toBe(0)
    expect(await kinds()).toEqual([['cut_off', newest]])
  })

  it('everything gone', async () => {
    await damage(...TABLES.map((table) => `delete from freehold.${table}`))
    expect(await kinds()).toEqual([['cut_off', 1]])
  })

  it('a chain that was made anew, from a changed row to its end and beyond', async () => {
    await damage(
      `update freehold.audit_log set user_id = gen_random_uuid() where id = ${FIRST}`,
      'update freehold.audit_log set checkpoint = null',
      'delete from freehold.audit_checkpoints',
    )
    for (let i = 0; i < 6; i++)
      await tenant.asOwner(
        sql`select access.record('PADDING', 'do', 'thing', null, null, null)`,
        sql`select access.checkpoint_audit(2)`,
      )
    for (let i = 0; i < 40; i++) await tenant.asOwner(sql`select access.checkpoint_audit(2)`)
    const newest = (await head())?.no
    expect(await checkpoint()).toBe(0)
    expect((await head())?.no).toBe(newest)
    expect(await kinds()).toEqual([['rewritten', newest]])
  })

  it('a detail that was deleted and not erased', async () => {
    const no = await inSeal()
    await damage(`delete from freehold.audit_detail where log_id = ${FIRST}`)
    expect(await kinds()).toEqual([['removed_detail', no]])
  })
})

describe('is accepted:', () => {
  it('a detail that was erased, before it was sealed or after', async () => {
    await record('UNSEALED')
    const erased = await tenant.asOwner(
      sql`select access.erase_detail(array(select id from freehold.audit_log where activity_type in ('SECOND', 'UNSEALED'))) as n`,
    )
    expect(erased).toEqual([{ n: 2 }])
    expect(await verdict()).toMatchObject({ intact: true, erased: 2 })
    await checkpoint()
    expect(await verdict()).toMatchObject({ intact: true, erased: 2 })
  })

  it('a detail that an entry of an earlier release says was erased: one entry for each, by its id', async () => {
    await damage(
      `select access.record('AUDIT_ERASED', 'erase', 'audit_detail', (select id::text from freehold.audit_log where activity_type = 'SECOND'), null, null)`,
      `delete from freehold.audit_detail d using freehold.audit_log l where l.id = d.log_id and l.activity_type = 'SECOND'`,
    )
    expect(await verdict()).toMatchObject({ intact: true, erased: 1 })
    await checkpoint()
    expect(await verdict()).toMatchObject({ intact: true, erased: 1 })
  })

  it('what the Worker wrote meanwhile', async () => {
    await login(AT)
    await checkpoint()
    expect(await verdict()).toMatchObject({ intact: true })
  })
})

it('verifying changes nothing, and trusts no function of the database', async () => {
  await damage(
    "create or replace function access.canonical_entry(l freehold.audit_log) returns bytea language sql immutable set search_path = pg_catalog, pg_temp as $$ select ''::bytea $$",
  )
  expect((await verifyChain(tenant.owner_url, null)).intact).toBe(true)
  expect(await refusalOf(tenant.app_url, sql`select access.checkpoint_audit(1)`)).toMatch(/permission denied/)
  await expect(verifyAudit(settings(), 'nobody-here')).rejects.toThrow('There is no tenant nobody-here')
})
