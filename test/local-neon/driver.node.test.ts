import { describe, expect, test } from 'vitest'
import { as, at, sqlOf, started } from './started.ts'

const { newProject, ask, uriOf, state } = started()

describe('a query', () => {
  test('has its values, whatever their type', async () => {
    const sql = sqlOf((await newProject()).uri)
    const when = new Date('2026-02-03T04:05:06.789Z')
    const [row] = await sql`
      select ${1}::int as int, ${'9007199254740993'}::bigint as big, ${1.5}::float8 as float, ${'0.10'}::numeric as exact, ${true}::bool as yes,
        ${null}::text as nothing, ${'a\nb"\\\'é🎈'} as text, ${when}::timestamptz as instant, ${['a,b', 'c"d', null]}::text[] as texts,
        ${[[1, 2], [3, 4]]}::int[][] as grid, ${{ a: [1, null] }}::jsonb as json, ${Buffer.from([0, 1, 255])} as bytes,
        ${'NaN'}::float8 as nan, ${'2026-01-01'}::date::text as day`
    expect(row).toEqual({
      int: 1,
      big: '9007199254740993',
      float: 1.5,
      exact: '0.10',
      yes: true,
      nothing: null,
      text: 'a\nb"\\\'é🎈',
      instant: when,
      texts: ['a,b', 'c"d', null],
      grid: [
        [1, 2],
        [3, 4],
      ],
      json: { a: [1, null] },
      bytes: Buffer.from([0, 1, 255]),
      nan: Number.NaN,
      day: '2026-01-01',
    })
  })

  test('says what it did and to how many rows', async () => {
    const sql = sqlOf((await newProject()).uri)
    const run = async (text: string) => {
      const { command, rowCount } = await sql.query(text, [], { fullResults: true })
      return [command, rowCount]
    }
    expect(await run('create table t (n int)')).toEqual(['CREATE', null])
    expect(await run('insert into t values (1), (2), (3)')).toEqual(['INSERT', 3])
    expect(await run('update t set n = 0 where n > 1')).toEqual(['UPDATE', 2])
    expect(await run('select * from t')).toEqual(['SELECT', 3])
    expect(await run('delete from t')).toEqual(['DELETE', 3])
    expect(await run('set work_mem = 64')).toEqual(['SET', null])
    expect(await run('')).toEqual(['', null])
  })

  test('fails with everything that Postgres said', async () => {
    const sql = sqlOf((await newProject()).uri)
    await sql`create table people (name text constraint named check (name <> ''))`
    await expect(sql`insert into people values ('')`).rejects.toMatchObject({
      code: '23514',
      severity: 'ERROR',
      schema: 'public',
      table: 'people',
      constraint: 'named',
      detail: expect.stringContaining('Failing row'),
      file: 'execMain.c',
      line: expect.stringMatching(/^\d+$/),
      routine: 'ExecConstraints',
    })
    await expect(sql`select nothing`).rejects.toMatchObject({ code: '42703', position: '8' })
    await expect(sql.query('select 1; select 2')).rejects.toMatchObject({
      code: '42601',
      message: 'cannot insert multiple commands into a prepared statement',
    })
    await expect(sql.query('select $1', [])).rejects.toMatchObject({
      code: '08P01',
      message: expect.stringContaining('requires 1'),
    })
    await expect(sql.query('copy people from stdin')).rejects.toThrow()
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }])
  })

  test('that the client gives up ends in Postgres too', async () => {
    const { uri } = await newProject()
    const sql = sqlOf(uri)
    const signal = AbortSignal.timeout(100)
    await expect(sql.query('select pg_sleep(30)', [], { fetchOptions: { signal } })).rejects.toThrow()
    const sleeping = async () =>
      (await sql`select count(*)::int as n from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'`)[0]?.n
    await expect.poll(sleeping, { timeout: 5_000 }).toBe(0)
  })

  test('finds nothing of the one before it', async () => {
    const sql = sqlOf((await newProject()).uri)
    await sql`create sequence numbers`
    await sql`select nextval('numbers')`
    await expect(sql`select currval('numbers')`).rejects.toMatchObject({ code: '55000' })
    await sql`set search_path = nowhere`
    await sql`set session characteristics as transaction read only`
    await sql`create temporary table brief (n int)`
    await sql`select pg_advisory_lock(1)`
    await sql.query('prepare mine as select 1')
    await sql`begin`
    expect(await sql`show search_path`).toEqual([{ search_path: '"$user", public' }])
    expect(await sql`select to_regclass('pg_temp.brief') as brief`).toEqual([{ brief: null }])
    await expect.poll(async () => (await sql`select count(*)::int as n from pg_locks where locktype = 'advisory'`)[0]?.n).toBe(0)
    await expect(sql.query('execute mine')).rejects.toMatchObject({ code: '26000' })
    await sql`create table written (n int)`
    expect(await sql`select to_regclass('written') is not null as there`).toEqual([{ there: true }])
  })
})

describe('a batch', () => {
  test('is one transaction', async () => {
    const sql = sqlOf((await newProject()).uri)
    const [one, , other] = await sql.transaction([
      sql`select pg_current_xact_id()::text as id`,
      sql`create table t (n int primary key)`,
      sql`select pg_current_xact_id()::text as id`,
    ])
    expect(one).toEqual(other)
    await expect(
      sql.transaction([sql`insert into t values (1)`, sql`insert into t values (1)`, sql`select 1`]),
    ).rejects.toMatchObject({ code: '23505' })
    expect(await sql`select * from t`).toEqual([])
    expect(await sql.transaction([])).toEqual([])
  })

  test('fails when its commit does', async () => {
    const sql = sqlOf((await newProject()).uri)
    await sql`create table t (n int unique deferrable initially deferred)`
    await expect(sql.transaction([sql`insert into t values (1)`, sql`insert into t values (1)`])).rejects.toMatchObject({
      code: '23505',
    })
    expect(await sql`select * from t`).toEqual([])
  })

  test('runs at the isolation that was asked for, read-only if so', async () => {
    const sql = sqlOf((await newProject()).uri)
    const levels = {
      ReadUncommitted: 'read uncommitted',
      ReadCommitted: 'read committed',
      RepeatableRead: 'repeatable read',
      Serializable: 'serializable',
    }
    for (const [isolationLevel, level] of Object.entries(levels) as [keyof typeof levels, string][]) {
      const [shown] = await sql.transaction([sql`show transaction_isolation`], { isolationLevel })
      expect(shown).toEqual([{ transaction_isolation: level }])
    }
    const strict = { isolationLevel: 'Serializable', readOnly: true, deferrable: true } as const
    const flags = await sql.transaction([sql`show transaction_read_only`, sql`show transaction_deferrable`], strict)
    expect(flags).toEqual([[{ transaction_read_only: 'on' }], [{ transaction_deferrable: 'on' }]])
    await expect(sql.transaction([sql`create table t ()`], { readOnly: true })).rejects.toMatchObject({ code: '25006' })
  })

  test('notices a conflict with another transaction', async () => {
    const sql = sqlOf((await newProject()).uri)
    await sql`create table counter as select 0 as n`
    const add = () =>
      sql.transaction([sql`select n from counter`, sql`select pg_sleep(0.3)`, sql`update counter set n = n + 1`], {
        isolationLevel: 'Serializable',
      })
    const outcomes = await Promise.allSettled([add(), add()])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: '40001' } })
  })

  test('in which a statement ends the transaction goes on outside it', async () => {
    const sql = sqlOf((await newProject()).uri)
    await sql`create table t (n int)`
    await expect(sql.transaction([sql`insert into t values (1)`, sql`commit`, sql`select 1 / 0`])).rejects.toMatchObject({
      code: '22012',
    })
    expect(await sql`select * from t`).toEqual([{ n: 1 }])
  })
})

describe('a login', () => {
  test('with a wrong password, user or project is refused in the same words', async () => {
    const { uri } = await newProject()
    const { password, host } = new URL(uri)
    for (const wrong of [
      as(uri, 'neondb_owner', 'guess'),
      as(uri, 'mallory', password),
      as(uri, 'cloud_admin', password),
      uri.replace(host, `x${host}`),
    ]) {
      const user = new URL(wrong).username
      await expect(sqlOf(wrong)`select 1`).rejects.toMatchObject({
        code: '',
        message: `password authentication failed for user '${user}'`,
      })
    }
  })

  test('to a database that is missing says so', async () => {
    const { uri } = await newProject()
    for (const name of ['shop', 'local_neon']) {
      await expect(sqlOf(at(uri, name))`select 1`).rejects.toMatchObject({
        code: '3D000',
        severity: 'FATAL',
        message: `database "${name}" does not exist`,
      })
    }
  })

  test('to a database without the right to connect is refused as Neon’s proxy refuses it: a 500 that names the error', async () => {
    const { uri } = await newProject()
    await sqlOf(uri).query("create role guest login password 'a-long-enough-pass-1'")
    await sqlOf(uri).query('revoke connect on database neondb from public')
    await expect(sqlOf(as(uri, 'guest', 'a-long-enough-pass-1'))`select 1`).rejects.toThrow(
      /HTTP status 500.*permission denied for database \\"neondb\\".*42501/,
    )
    await expect(sqlOf(at(uri, 'postgres'))`select 1`).rejects.toThrow(/permission denied for database \\"postgres\\"/)
  })

  test('works over the pooled host as over the direct one', async () => {
    const { path } = await newProject()
    const { body } = await ask('GET', `${path}/connection_uri?database_name=neondb&role_name=neondb_owner&pooled=true`)
    expect(body.uri).toContain('-pooler.')
    expect(await sqlOf(body.uri)`select 1 as one`).toEqual([{ one: 1 }])
  })

  test('of a role that SQL made follows its password and its end', async () => {
    const { uri } = await newProject()
    const owner = sqlOf(uri)
    await owner.query("create role visitor login password 'first-pass-123'")
    const first = sqlOf(as(uri, 'visitor', 'first-pass-123'))
    expect(await first`select current_user as me`).toEqual([{ me: 'visitor' }])
    await owner.query("do $$ begin execute format('alter role visitor password %L', 'second-pass-456'); end $$ -- alter role")
    await expect(first`select 1`).rejects.toThrow("password authentication failed for user 'visitor'")
    const second = sqlOf(as(uri, 'visitor', 'second-pass-456'))
    expect(await second`select 1 as one`).toEqual([{ one: 1 }])
    await owner.query('drop role visitor')
    await expect(second`select 1`).rejects.toThrow("password authentication failed for user 'visitor'")
  })

  test('keeps its password to itself: the connections of another project do not open', async () => {
    const [mine, yours] = [await newProject(), await newProject()]
    const { username, password } = new URL(mine.uri)
    await expect(sqlOf(as(yours.uri, username, password))`select 1`).rejects.toThrow('password authentication failed')
    expect(new URL(state.postgresUrl).username).toBe('cloud_admin')
  })
})

describe('databases that SQL makes', () => {
  test('are seen by the API, can be templates although they are in use, and can be dropped', async () => {
    const { branch, uri } = await newProject()
    const owner = sqlOf(uri)
    await owner`create database template_of_mine`
    const template = sqlOf(at(uri, 'template_of_mine'))
    await template`create table t as select 1 as one`
    await owner`create database copy_of_mine template template_of_mine`
    expect(await sqlOf(at(uri, 'copy_of_mine'))`select * from t`).toEqual([{ one: 1 }])
    expect(await template`select * from t`).toEqual([{ one: 1 }])
    const listed = (await ask('GET', `${branch}/databases`)).body.databases
    expect(listed.map(({ name, owner_name }: { name: string; owner_name: string }) => [name, owner_name])).toContainEqual([
      'copy_of_mine',
      listed[0].owner_name,
    ])
    await owner`drop database copy_of_mine`
    await expect(sqlOf(at(uri, 'copy_of_mine'))`select 1`).rejects.toMatchObject({ code: '3D000' })
    expect((await ask('GET', `${branch}/databases/copy_of_mine`)).status).toBe(404)
  })

  test('can be copied from the one that the statement runs in', async () => {
    const { uri } = await newProject({ branch: { database_name: 'source_of_mine' } })
    const owner = sqlOf(uri)
    await owner`create table t as select 1 as one`
    await Promise.all([owner`select 1`, owner`select 2`])
    await owner`create database copy_of_source template source_of_mine`
    expect(await sqlOf(at(uri, 'copy_of_source'))`select * from t`).toEqual([{ one: 1 }])
  })

  test('are meant when a statement names them as their branch does, whatever the cluster calls them', async () => {
    const [, { uri }] = [await newProject(), await newProject()]
    const owner = sqlOf(uri)
    const [{ here } = { here: '' }] = await owner`select current_database() as here`
    expect(here).toMatch(/^neondb@br-/)
    await owner`revoke connect on database neondb from public`
    await owner`comment on database "neondb" is 'mine'`
    expect(
      await owner`select shobj_description(oid, 'pg_database') as said, array_to_string(datacl, ' ') ~ '(^| )=[a-zA-Z]*c' as open
        from pg_database where datname = current_database()`,
    ).toEqual([{ said: 'mine', open: false }])
  })

  test('a database that is in use is deleted by the API all the same', async () => {
    const { branch, uri } = await newProject()
    await ask('POST', `${branch}/databases`, { database: { name: 'busy', owner_name: 'neondb_owner' } })
    const busy = sqlOf(await uriOf(branch, 'busy'))
    const sleeping = expect(busy`select pg_sleep(20)`).rejects.toThrow()
    await busy`select 1`
    expect((await ask('DELETE', `${branch}/databases/busy`)).status).toBe(200)
    await sleeping
    await expect(sqlOf(at(uri, 'busy'))`select 1`).rejects.toMatchObject({ code: '3D000' })
  })
})
