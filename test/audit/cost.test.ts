/** What being recorded costs a writer. Measured on the server and undone; the bounds are looser than on a quiet machine, which tells its own numbers. */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, rowsOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'costed'
const TRIES = 7
let tenant: Database

beforeAll(async () => {
  await copyTenant(AT)
  tenant = await databaseOf(AT)
})

const asOwner = sql`set local role freehold_owner`
const triggers = (table: string, how: 'enable' | 'disable'): SQL[] =>
  ['insert', 'update', 'delete'].map((verb) => sql.raw(`alter table ${table} ${how} trigger audit_${verb}`))
const median = (times: number[]) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0

/** How long a statement takes, in milliseconds, with the triggers and without; everything is undone. */
async function cost(table: string, statement: string): Promise<number> {
  const took = { with: [] as number[], without: [] as number[] }
  const timed = sql.raw(`do $$ declare began timestamptz; took double precision; begin
    begin
      began := clock_timestamp();
      ${statement};
      took := extract(epoch from clock_timestamp() - began) * 1000;
      raise exception using errcode = 'FH000', message = 'undone';
    exception when sqlstate 'FH000' then null; end;
    perform set_config('cost.took', took::text, true);
  end $$`)
  const told = sql`select current_setting('cost.took')::double precision as took`
  for (let i = 0; i < TRIES; i++) {
    const [recorded] = await rowsOf(tenant.owner_url, asOwner, timed, told)
    const [plain] = await rowsOf(
      tenant.owner_url,
      asOwner,
      ...triggers(table, 'disable'),
      timed,
      ...triggers(table, 'enable'),
      told,
    )
    took.with.push(recorded?.took)
    took.without.push(plain?.took)
  }
  const ratio = median(took.with) / median(took.without)
  console.log(
    `${statement.slice(0, 40)}: ${median(took.with).toFixed(1)} ms with, ${median(took.without).toFixed(1)} ms without, ${ratio.toFixed(2)}x`,
  )
  return ratio
}

describe('1,000 rows in one statement', () => {
  it.each([
    [
      'freehold.users',
      "insert into freehold.users (id, username, email) select gen_random_uuid(), 'u' || g, 'u' || g || '@x.test' from generate_series(1, 1000) g",
    ],
    [
      'freehold.overrides',
      "insert into freehold.overrides (id, user_id, permission, effect, scope, ends_at) select gen_random_uuid(), u.id, 'user:read', 'grant', 'all', now() + interval '1 day' from freehold.users u, generate_series(1, 1000)",
    ],
  ])('of %s cost at most three times what they cost unrecorded', async (table, statement) =>
    expect(await cost(table, statement)).toBeLessThanOrEqual(3),
  )
})

describe('writers', () => {
  it('do not wait for each other: six who hold their transactions open write at once', async () => {
    const write = (name: string) => sql`insert into freehold.permissions (id, name) values (gen_random_uuid(), ${name})`
    const began = Date.now()
    await Promise.all(
      Array.from({ length: 6 }, (_, i) => rowsOf(tenant.owner_url, asOwner, write(`tide-${i}:read`), sql`select pg_sleep(0.5)`)),
    )
    expect(Date.now() - began).toBeLessThan(2_500)
    const rows = await tenant.asOwner(
      sql`select activity_type from freehold.audit_log where resource_id in (select id::text from freehold.permissions where name like 'tide-%')`,
    )
    expect(rows).toHaveLength(6)
  })
})
