/** What was written stays as it was: also for the login that owns the tables, short of dropping the triggers. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, master, refusalOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'kept-record'
let tenant: Database
beforeAll(async () => {
  await copyTenant(AT)
  tenant = await databaseOf(AT)
})
const asOwner = sql`set local role freehold_owner`

describe('the owner login is refused', () => {
  it.each([
    'update freehold.audit_log set user_id = gen_random_uuid()',
    "update freehold.audit_log set activity_type = 'X'",
    "update freehold.audit_log set at = at + interval '1 second'",
    "update freehold.audit_log set detail_hash = ''",
    'update freehold.audit_log set xid = xid + 1, checkpoint = 1',
    'delete from freehold.audit_log',
    'delete from freehold.audit_log where false',
    'truncate freehold.audit_log',
    "update freehold.audit_detail set after = '{}'",
    'update freehold.audit_detail set log_id = gen_random_uuid()',
    'truncate freehold.audit_detail',
    'delete from freehold.audit_detail',
    'delete from freehold.audit_checkpoints',
    'update freehold.audit_checkpoints set entries = 0',
    'truncate freehold.audit_checkpoints',
    "insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash) values (gen_random_uuid(), 'LOGIN', 'create', 'session', '')",
    "insert into freehold.audit_detail (log_id, salt) select id, '' from freehold.audit_log limit 1",
  ])('%s', async (statement) => expect(await refusalOf(tenant.owner_url, asOwner, sql.raw(statement))).toBe('FH403 forbidden'))

  it.each([
    ['of long ago', 'at', "'2020-01-01'"],
    ['of tomorrow', 'at', "now() + interval '1 day'"],
    ['of another transaction', 'xid', '3'],
    ['under a checkpoint', 'checkpoint', '1'],
  ])('an entry %s, also where it names itself the audit', async (_, column, value) => {
    const insert = (more: string, values: string) =>
      refusalOf(
        tenant.owner_url,
        asOwner,
        sql`select set_config('access.writer', 'audit', true)`,
        sql.raw(
          `insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash${more}) values (gen_random_uuid(), 'X', 'x', 'x', ''${values})`,
        ),
        sql.raw(`do $$ begin raise exception using errcode = 'FH000', message = 'undone'; end $$`),
      )
    expect(await insert('', '')).toBe('FH000 undone')
    expect(await insert(`, ${column}`, `, ${value}`)).toBe('FH403 forbidden')
  })

  it('twenty entries of 2020 at once, beside twenty who are at work', async () => {
    const plant = () =>
      refusalOf(
        tenant.owner_url,
        asOwner,
        sql`insert into freehold.audit_log (id, activity_type, action, resource_type, detail_hash, at) values (gen_random_uuid(), 'PLANTED', 'x', 'x', '', '2020-01-01')`,
      )
    const work = () => tenant.asOwner(sql`select access.record('WORK', 'x', 'x', null, null, null)`)
    const all = await Promise.all(Array.from({ length: 20 }, () => [plant(), work()]).flat())
    expect(all.filter((_, i) => i % 2 === 0)).toEqual(Array.from({ length: 20 }, () => 'FH403 forbidden'))
    const [row] = await tenant.asOwner(
      sql`select count(*) filter (where activity_type = 'PLANTED')::integer as planted, count(*) filter (where activity_type = 'WORK')::integer as work from freehold.audit_log`,
    )
    expect(row).toEqual({ planted: 0, work: 20 })
  })

  it('puts a checkpoint on an entry once, and never takes it off', async () => {
    await tenant.asOwner(sql`select access.record('OLD', 'x', 'x', null, null, null)`)
    await tenant.asOwner(sql`select access.checkpoint_audit(1000)`)
    expect(
      await refusalOf(tenant.owner_url, asOwner, sql`update freehold.audit_log set checkpoint = 2 where checkpoint = 1`),
    ).toMatch(/^FH403/)
    expect(
      await refusalOf(tenant.owner_url, asOwner, sql`update freehold.audit_log set checkpoint = null where checkpoint = 1`),
    ).toMatch(/^FH403/)
  })
})

it('an entry is dated when it was written, and not when its transaction began', async () => {
  const [row] = await tenant.asOwner(
    sql`select pg_sleep(0.2)`,
    sql`select access.record('LATE', 'x', 'x', null, null, null)`,
    sql`select extract(epoch from at - now())::float as late from freehold.audit_log where activity_type = 'LATE'`,
  )
  expect(row?.late).toBeGreaterThanOrEqual(0.2)
})

describe('erasing details', () => {
  it('leaves the entry, and an entry that names each and says between which moments they were written', async () => {
    const rows = await tenant.asOwner(
      sql`select id, to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at from freehold.audit_log order by at, id limit 2`,
    )
    const ids = rows.map(({ id }) => id)
    const list = sql`array(select jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb)::uuid)`
    expect(await tenant.asOwner(sql`select access.erase_detail(${list} || gen_random_uuid()) as n`)).toEqual([{ n: 2 }])
    expect(await tenant.asOwner(sql`select 1 from freehold.audit_detail where log_id = any (${list})`)).toEqual([])
    expect(await tenant.asOwner(sql`select 1 from freehold.audit_log where id = any (${list})`)).toHaveLength(2)
    const said = await tenant.asOwner(
      sql`select l.resource_id, l.action, l.resource_type, d.before, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'AUDIT_ERASED'`,
    )
    const span = `${rows[0]?.at}/${rows[1]?.at}`
    expect(said).toEqual([{ action: 'erase', resource_type: 'audit_detail', resource_id: span, before: null, after: { ids } }])
    expect(await tenant.asOwner(sql`select access.erase_detail(${list}) as n`)).toEqual([{ n: 0 }])
  })

  it('never takes what proves an erasure', async () => {
    const erasures = sql`array(select id from freehold.audit_log where activity_type = 'AUDIT_ERASED')`
    expect(await tenant.asOwner(sql`select access.erase_detail(${erasures}) as n`)).toEqual([{ n: 0 }])
    expect(await tenant.asOwner(sql`select 1 from freehold.audit_detail where log_id = any (${erasures})`)).toHaveLength(1)
  })

  it('names a thousand in an entry, and twenty erasures at once erase each detail once', async () => {
    await tenant.asOwner(sql`select access.record('MANY', 'x', 'x', null, null, null) from generate_series(1, 2300)`)
    const erase = sql`select access.erase_detail(array(select id from freehold.audit_log where activity_type = 'MANY')) as n`
    const counts = (await Promise.all(Array.from({ length: 20 }, () => tenant.asOwner(erase)))).map(([row]) => row?.n)
    expect(counts.sort((a, b) => b - a)).toEqual([2300, ...Array(19).fill(0)])
    const named = await tenant.asOwner(
      sql`select jsonb_array_length(d.after -> 'ids') as n from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'AUDIT_ERASED' order by l.at`,
    )
    expect(named.map(({ n }) => n)).toEqual([2, 1000, 1000, 300])
  })

  it('is not done by who only says so, in another transaction', async () => {
    const [row] = await tenant.asOwner(
      sql`select d.log_id from freehold.audit_detail d join freehold.audit_log l on l.id = d.log_id where l.activity_type <> 'AUDIT_ERASED' limit 1`,
    )
    const ids = JSON.stringify({ ids: [row?.log_id] })
    await tenant.asOwner(sql`select access.record('AUDIT_ERASED', 'erase', 'audit_detail', ${row?.log_id}, null, ${ids}::jsonb)`)
    expect(
      await refusalOf(tenant.owner_url, asOwner, sql`delete from freehold.audit_detail where log_id = ${row?.log_id}`),
    ).toMatch(/^FH403/)
  })
})

describe.each(['a tenant', 'the master'])('in %s', (where) => {
  const ask = (query: ReturnType<typeof sql>) => (where === 'a tenant' ? tenant.asOwner(query) : master(query))

  it('every table that people write is under audit, for insert, update and delete', async () => {
    const rows = await ask(
      sql`select c.relname as name, count(t.oid)::integer as n from pg_class c left join pg_trigger t on t.tgrelid = c.oid and t.tgfoid = 'access.audit()'::regprocedure and t.tgenabled = 'O'
          where c.relnamespace = 'freehold'::regnamespace and c.relkind in ('r', 'p') group by 1`,
    )
    // What no person writes; what becomes of it is recorded by its name.
    const rest =
      /^(lockouts|login_attempts|login_challenges|risk_attempts|email_logins|totp_factors|backup_codes|remembered_devices|refresh_tokens|one_time_tokens|registrations|mails|mail_attempts|notifications|erasures|invitations|migrations|webhook_deliveries|webhook_progress|audit_.*|.*_periods)$/
    expect(rows.filter(({ name, n }) => n !== (rest.test(name) ? 0 : 3))).toEqual([])
    expect(rows.length).toBeGreaterThan(15)
  })

  it('the key by which a row is named is its primary key', async () => {
    const rows = await ask(
      sql`select c.relname as name, coalesce(nullif(split_part(encode(t.tgargs, 'escape'), '\\000', 4), ''), '{id}')::text[] as named,
            array(select a.attname::text from pg_index i cross join unnest(i.indkey) k join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k where i.indrelid = c.oid and i.indisprimary) as key
          from pg_trigger t join pg_class c on c.oid = t.tgrelid where t.tgfoid = 'access.audit()'::regprocedure and c.relname <> 'tenant'`,
    )
    expect(rows.length).toBeGreaterThan(20)
    for (const { name, named, key } of rows) expect(named, name).toEqual(key)
  })

  it('every column that holds a secret is masked', async () => {
    const rows = await ask(
      sql`select c.relname || '.' || a.attname as name from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          where t.tgfoid = 'access.audit()'::regprocedure and t.tgname = 'audit_insert' and (a.attname ~ '(hash|encrypted|secret|salt|token)' or format_type(a.atttypid, null) = 'bytea')
            -- Hashes of checkpoints, which everybody may know.
            and c.relname <> 'audit_cuts'
            -- What tokens carry is no secret, nor whether they are taken.
            and a.attname not in ('token_permissions', 'token_permission_list', 'accepts_tokens')
            and not a.attname = any (split_part(encode(t.tgargs, 'escape'), '\\000', 2)::text[])`,
    )
    expect(rows).toEqual([])
  })
})
