/** What a tenant's database is, as its catalogue says: what nobody would see in a review of the next migration. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, master, refusalOf, rowsOf } from '../support/databases.ts'
import { makeTenant } from '../support/people.ts'

const APP_MAY_CALL = [
  'access.accept_invitation(uuid,text,bytea,text,jsonb,jsonb,jsonb)',
  'access.admit(uuid,jsonb,text,jsonb,boolean,integer,integer)',
  'access.ask(jsonb,timestamp with time zone)',
  'access.began_at(date,date)',
  'access.begin_admin_reset(uuid)',
  'access.begin_external_login(uuid,text,text)',
  'access.begin_factor_change(uuid,text)',
  'access.begin_hook_test(uuid)',
  'access.begin_login(uuid,text,text,jsonb,jsonb,boolean)',
  'access.begin_once(text,bytea,bytea,bytea)',
  'access.begin_passkey_login(uuid,text,bytea)',
  'access.begin_password_change(uuid,text)',
  'access.begin_reset(uuid,text,bytea)',
  'access.begin_step_up(uuid,text)',
  'access.begin_totp(uuid,text,text)',
  'access.begin_verification(uuid,text,bytea)',
  'access.begin_webhook_test(uuid)',
  'access.cancel_erasure()',
  'access.cancel_erasure_by_token(uuid,text,bytea,jsonb)',
  'access.cancel_erasure_of(uuid)',
  'access.checkpoint_soon(uuid,text)',
  'access.claim_mails(uuid,text,integer,jsonb)',
  'access.claim_webhooks(uuid,text,integer)',
  'access.claims()',
  'access.continue_webhook(uuid,text,uuid,uuid,jsonb,bigint,boolean)',
  'access.count_documents(integer)',
  'access.count_key_uses(uuid,text,uuid,integer,jsonb)',
  'access.enable_totp(uuid,text,text,bigint,jsonb)',
  'access.end_organization(uuid,text,text,boolean)',
  'access.end_webhook_test(uuid,jsonb)',
  'access.erasure()',
  'access.explain(uuid,timestamp with time zone)',
  'access.export_activities(timestamp with time zone,uuid,integer,integer)',
  'access.export_person()',
  'access.finish_admin_reset(uuid,text,uuid,text,jsonb,boolean,bytea,text,boolean)',
  'access.finish_external_login(uuid,text,uuid,timestamp with time zone,text,jsonb,bytea,timestamp with time zone,bytea,jsonb,jsonb,jsonb)',
  'access.finish_factor_change(uuid,text,uuid,text,bigint,text,jsonb)',
  'access.finish_login(uuid,text,uuid,text,text,bytea,jsonb,jsonb,text,text)',
  'access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb,jsonb,text,text)',
  'access.finish_mails(uuid,text,jsonb)',
  'access.finish_passkey_login(uuid,text,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,jsonb)',
  'access.finish_password_change(uuid,text,uuid,text,text,jsonb,boolean)',
  'access.finish_reset(uuid,text,bytea,text,jsonb,jsonb,boolean)',
  'access.finish_step_up(uuid,text,uuid,text)',
  'access.finish_verification(uuid,text,bytea,bytea,text,text,jsonb)',
  'access.first_password(uuid,text)',
  'access.holders(text,timestamp with time zone,uuid,integer)',
  'access.hook_answered(uuid,text,jsonb)',
  'access.hook_target(uuid,text,uuid)',
  'access.idle_limit(freehold.tenant)',
  'access.impersonate(uuid,text)',
  'access.impersonator_of(uuid)',
  'access.import_batch(jsonb,integer,jsonb)',
  'access.import_employees(jsonb,integer,boolean)',
  'access.in_force(timestamp with time zone,timestamp with time zone,timestamp with time zone)',
  'access.introspect(uuid,text,text,text,uuid,text)',
  'access.invitations_of(uuid)',
  'access.invite(uuid,text,uuid,jsonb,bytea,text)',
  'access.join_by_invitation(uuid,text,bytea)',
  'access.keep_answer(text,bytea,bytea,json,text)',
  'access.kept_answer(text,bytea,bytea,bytea)',
  'access.key()',
  'access.link_identity(uuid,text,uuid,timestamp with time zone,jsonb,bytea,timestamp with time zone)',
  'access.lock_user(uuid)',
  'access.login_history(uuid,integer,timestamp with time zone,uuid)',
  'access.logo(uuid)',
  'access.look(uuid)',
  'access.mail_reset_link(uuid,text,uuid,bytea,text)',
  // Of the release before, until the next migration.
  'access.matrix_rows(uuid[],uuid[],timestamp with time zone)',
  'access.may_read_all_audit()',
  'access.may_read_audit()',
  'access.me()',
  'access.merged(jsonb,jsonb)',
  'access.metadata(uuid)',
  'access.new_notifications(timestamp with time zone)',
  'access.new_username(text,text)',
  'access.notification_preferences()',
  'access.origins(uuid)',
  'access.own_invitations()',
  'access.own_notifications(boolean,timestamp with time zone,uuid,integer)',
  'access.pending_totp(uuid,text)',
  'access.permission()',
  'access.phone_code(uuid,text,text,text)',
  'access.policy()',
  'access.preview_invitation(uuid,text,bytea)',
  'access.principal()',
  'access.put_units(uuid,uuid[])',
  'access.reach_competency(uuid)',
  'access.reach_competency_type(uuid)',
  'access.read_events(bigint,integer,boolean)',
  'access.read_notification(uuid)',
  'access.read_notifications()',
  'access.reads_users_of(uuid)',
  'access.record_custom_activity(text,text,text,text,integer,jsonb,jsonb)',
  'access.record_export(jsonb)',
  'access.record_matrix_export(jsonb)',
  'access.record_refusal(uuid,text,jsonb,text,text,jsonb)',
  'access.refresh(uuid,text,bytea,bytea,jsonb,bytea,text,text)',
  'access.register_passkey(uuid,text,bytea,timestamp with time zone,jsonb)',
  'access.registration_terms(uuid)',
  'access.rehearse_risk(jsonb,jsonb,integer,integer)',
  'access.reinstate_employee(uuid)',
  'access.remembered_sessions(uuid)',
  'access.replay_webhook(uuid,bigint)',
  'access.request_email_change(uuid,text,uuid,text,text,bytea,text)',
  'access.request_email_login(uuid,text,text,bytea,bytea,bytea,text,jsonb)',
  'access.request_erasure(uuid,text,bytea,text,text)',
  'access.request_erasure_of(uuid,text,boolean)',
  'access.request_reset(uuid,text,text,bytea,text,jsonb)',
  'access.require_reach(text,uuid,uuid)',
  'access.resend_invitation(uuid,text,uuid,bytea,text)',
  'access.resend_login_code(uuid,text,bytea,jsonb)',
  'access.resend_verification(uuid,text,text,bytea,text,jsonb)',
  'access.reset_factors(uuid)',
  'access.retire_competency_type(uuid)',
  'access.revoke_competency(uuid,text)',
  'access.revoke_invitation(uuid)',
  'access.revoke_token(uuid,text,text,text,uuid,jsonb)',
  'access.scope()',
  'access.scope_owner_ids()',
  'access.scope_unit_ids()',
  'access.sensitive_of(uuid[])',
  'access.session()',
  'access.set_groups(uuid,jsonb)',
  'access.set_notification_preferences(jsonb)',
  'access.set_own_avatar(text)',
  'access.start_registration(uuid,text,bytea,bytea,jsonb,text,text,jsonb)',
  'access.step_up_by_code(uuid,text,bigint,text)',
  'access.step_up_by_passkey(uuid,text,bytea,text,bytea,timestamp with time zone,bigint)',
  'access.step_up_methods()',
  'access.step_up_secret(uuid,text)',
  'access.substitute(uuid,text)',
  'access.take_dropped_mails(uuid,text,integer)',
  'access.terminate_employee(uuid,text,timestamp with time zone)',
  'access.token_providers(uuid,text)',
  'access.touch()',
  'access.unlock(uuid)',
  'access.unread_notifications()',
  'access.update_me(jsonb)',
  'access.usage()',
  'access.verify_competency(uuid,timestamp with time zone)',
  'access.verify_email_login(uuid,text,bytea,bytea,bytea,boolean,bytea,jsonb,jsonb,jsonb)',
  'access.verify_mailed_code(uuid,text,bytea,bytea,bytea,jsonb,jsonb)',
  'access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,boolean)',
  'access.verify_phone(uuid,text,text)',
  'access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb,boolean)',
  'access.walks()',
  'access.who_am_i()',
]
const APP_MAY_READ = [
  ...[
    'api_keys',
    'audiences',
    'audit_checkpoints',
    'audit_detail',
    'audit_log',
    'competencies',
    'competency_types',
    'delegation_permissions',
    'delegations',
    'employees',
    'external_identities',
    'hooks',
    'invitations',
    'logo',
    'organizations',
    'overrides',
    'passkeys',
    'permissions',
    'providers',
    'role_permissions',
    'roles',
    'sessions',
    'tenant',
    'units',
    'user_roles',
    'users',
    'webhook_deliveries',
    'webhook_progress',
    'webhooks',
  ],
]

const APP_MAY_INSERT = [
  'api_keys',
  'audiences',
  'competencies',
  'competency_types',
  'delegation_permissions',
  'delegations',
  'employees',
  'hooks',
  'logo',
  'organizations',
  'overrides',
  'permissions',
  'providers',
  'role_permissions',
  'roles',
  'units',
  'user_roles',
  'users',
  'webhooks',
]
const APP_MAY_UPDATE = [
  'api_keys',
  'audiences',
  'competencies',
  'competency_types',
  'delegations',
  'employees',
  'hooks',
  'logo',
  'organizations',
  'overrides',
  'passkeys',
  'permissions',
  'providers',
  'role_permissions',
  'roles',
  'sessions',
  'tenant',
  'units',
  'user_roles',
  'users',
  'webhooks',
]

let tenant: Database
let branch: Database
beforeAll(async () => {
  await makeTenant('catalogued')
  await makeTenant('catalogued-branch', { isolation: 'branch' })
  tenant = await databaseOf('catalogued')
  branch = await databaseOf('catalogued-branch')
})

const OURS = sql`('freehold'::regnamespace, 'access'::regnamespace)`
const names = (rows: Record<string, unknown>[]) => rows.map(({ name }) => name)

describe.each<[string, () => (...statements: ReturnType<typeof sql>[]) => Promise<Record<string, unknown>[]>]>([
  ['a tenant’s database', () => tenant.asOwner],
  ['a tenant’s branch, which is a copy', () => branch.asOwner],
  ['the master', () => master],
])('in %s', (where, run) => {
  const ask = (query: ReturnType<typeof sql>) => run()(query)
  const schemas =
    where === 'the master' ? sql`('freehold'::regnamespace, 'access'::regnamespace, 'platform'::regnamespace)` : OURS

  it('every table has row level security', async () => {
    expect(
      await ask(
        sql`select oid::regclass::text as name from pg_class where relkind in ('r', 'p') and relnamespace in ${schemas} and not relrowsecurity`,
      ),
    ).toEqual([])
  })

  it('nothing that looks through row level security is there: no view, no foreign table', async () => {
    expect(
      await ask(
        sql`select oid::regclass::text as name from pg_class where relkind in ('v', 'm', 'f') and relnamespace in ${schemas}`,
      ),
    ).toEqual([])
  })

  it('every function has a body that was bound when it was made and is no definer, or a search_path that ends in pg_temp', async () => {
    const rows = await ask(
      sql`select p.oid::regprocedure::text as name from pg_proc p where p.pronamespace in ${schemas} and p.prokind <> 'p'
        and (p.prosqlbody is null or p.prosecdef)
        and not exists (select from unnest(p.proconfig) c where c ~ '^search_path=(.*, )?"?pg_temp"?$')`,
    )
    expect(rows).toEqual([])
  })
  it('so has every procedure', async () => {
    const rows = await ask(
      sql`select p.oid::regprocedure::text as name from pg_proc p where p.pronamespace in ${schemas} and p.prokind = 'p'
        and not exists (select from unnest(p.proconfig) c where c ~ '^search_path=(.*, )?"?pg_temp"?$')`,
    )
    expect(rows).toEqual([])
  })
  it('the functions of access belong to freehold_owner, who is no superuser, and PUBLIC may call none', async () => {
    expect(
      await ask(
        sql`select oid::regprocedure::text as name from pg_proc where pronamespace in ${schemas} and proowner <> 'freehold_owner'::regrole`,
      ),
    ).toEqual([])
    const open = sql`select oid::regprocedure::text as name from pg_proc p where pronamespace = 'access'::regnamespace
      and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))`
    expect(await ask(open)).toEqual([])
    expect(
      await ask(
        sql`select rolsuper, rolbypassrls, rolcanlogin, rolcreaterole, rolcreatedb from pg_roles where rolname = 'freehold_owner'`,
      ),
    ).toEqual([{ rolsuper: false, rolbypassrls: false, rolcanlogin: false, rolcreaterole: false, rolcreatedb: false }])
  })

  it('the app may call exactly these', async () => {
    const rows = await ask(
      sql`select oid::regprocedure::text as name from pg_proc where pronamespace = 'access'::regnamespace and has_function_privilege('freehold_app', oid, 'execute') order by oid::regprocedure::text collate "C"`,
    )
    expect(names(rows)).toEqual(APP_MAY_CALL)
  })

  it('the app may read and write exactly these of freehold', async () => {
    const may = (privilege: string) =>
      ask(sql`select relname as name from pg_class where relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and relkind = 'r'
        and (has_table_privilege('freehold_app', oid, ${privilege}) or has_any_column_privilege('freehold_app', oid, ${privilege})) order by 1`)
    expect(names(await may('select'))).toEqual(APP_MAY_READ)
    expect(names(await may('insert'))).toEqual(APP_MAY_INSERT)
    expect(names(await may('update'))).toEqual(APP_MAY_UPDATE)
    expect(
      names(
        await ask(
          sql`select relname as name from pg_class where relnamespace in ${schemas} and relkind = 'r' and has_table_privilege('freehold_app', oid, 'delete') order by 1`,
        ),
      ),
    ).toEqual(
      where === 'the master'
        ? [
            'audiences',
            'competencies',
            'external_identities',
            'hooks',
            'licenses',
            'logo',
            'passkeys',
            'plans',
            'providers',
            'units',
            'webhooks',
          ]
        : ['audiences', 'competencies', 'external_identities', 'hooks', 'logo', 'passkeys', 'providers', 'units', 'webhooks'],
    )
    const other =
      await ask(sql`select oid::regclass::text as name from pg_class where relnamespace in ${schemas} and relkind = 'r'
      and (has_table_privilege('freehold_app', oid, 'truncate') or has_table_privilege('freehold_app', oid, 'references') or has_table_privilege('freehold_app', oid, 'trigger'))`)
    expect(other).toEqual([])
    const columns = await ask(
      sql`select attname as name from pg_attribute where attrelid = 'freehold.sessions'::regclass and attnum > 0 and has_column_privilege('freehold_app', attrelid, attnum, 'update') order by 1`,
    )
    expect(names(columns)).toEqual(['ended_at', 'ended_because'])
    const hidden = (privilege: string) =>
      ask(
        sql`select attname as name from pg_attribute where attrelid = 'freehold.api_keys'::regclass and attnum > 0 and not has_column_privilege('freehold_app', attrelid, attnum, ${privilege}) order by 1`,
      )
    expect(names(await hidden('select'))).toEqual(['key_hash'])
    expect(names(await hidden('insert'))).toEqual(['created_at', 'last_used_at', 'revoked_at', 'use_count'])
    expect(names(await hidden('update'))).toEqual([
      'created_at',
      'id',
      'key_hash',
      'last_used_at',
      'prefix',
      'rotated_from',
      'use_count',
      'user_id',
    ])
  })

  it('every object belongs to freehold_owner', async () => {
    const rows = await ask(
      sql`select oid::regclass::text as name from pg_class where relnamespace in ${schemas} and relowner <> 'freehold_owner'::regrole
        union all select oid::regprocedure::text from pg_proc where pronamespace in ${schemas} and proowner <> 'freehold_owner'::regrole
        union all select oid::regtype::text from pg_type where typnamespace in ${schemas} and typowner <> 'freehold_owner'::regrole
        union all select nspname from pg_namespace where oid in ${schemas} and nspowner <> 'freehold_owner'::regrole`,
    )
    expect(rows).toEqual([])
  })

  it('PUBLIC may neither connect nor make temporary tables, and nothing of ours is its', async () => {
    const database = sql`select privilege_type as name from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) where datname = current_database() and grantee = 0`
    expect(await ask(database)).toEqual([])
    const tables = sql`select oid::regclass::text as name from pg_class, aclexplode(relacl) where relnamespace in ${schemas} and grantee = 0
      union all select nspname from pg_namespace, aclexplode(nspacl) where oid in ${schemas} and grantee = 0`
    expect(await ask(tables)).toEqual([])
  })

  it('nothing of ours is in public', async () => {
    const rows = await ask(
      sql`select relname as name from pg_class where relnamespace = 'public'::regnamespace union all select proname from pg_proc where pronamespace = 'public'::regnamespace
        union all select typname from pg_type where typnamespace = 'public'::regnamespace`,
    )
    expect(rows).toEqual([])
  })

  it('columns under row security are of leakproof types: no enum, no domain, no citext, and no array but lists that are only read', async () => {
    const rows = await ask(
      sql`select a.attrelid::regclass || '.' || a.attname as name from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_type t on t.oid = a.atttypid
        where c.relnamespace = 'freehold'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
          and t.typname not in ('text', 'uuid', 'date', 'timestamptz', 'bool', 'int2', 'int4', 'int8', 'bytea', 'jsonb')
          and a.attname not in ('registration_domains', 'token_permission_list', 'permissions', 'addresses', 'origins', 'transports', 'factors', 'mfa_required_roles', 'allowed_domains', 'mfa_values', 'role_ids', 'kinds', 'strengths', 'latitude', 'longitude')`,
    )
    expect(rows).toEqual([])
  })

  it('policies ask once, not per row: what they call stands in a sub-select', async () => {
    const rows = (await ask(
      sql`select polname || ': ' || coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') as name from pg_policy`,
    )) as { name: string }[]
    expect(rows.length).toBeGreaterThan(5)
    for (const { name } of rows)
      expect(
        name
          .replaceAll('::access.scope', '')
          .replace(
            /\( SELECT \(?access\.\w+\(\)( = '[\w:]+'(::text)?\)| = ANY \('[\w:,{}]*'::text\[\]\)\))?( AS [\w"?]+)?\)/g,
            '',
          ),
      ).not.toMatch(/access\./)
  })
})

describe('the logins of a tenant', () => {
  it('are two, named after it, and they alone may connect', async () => {
    const short = tenant.id.replaceAll('-', '').slice(0, 12)
    const rows = await tenant.asOwner(
      sql`select grantee::regrole::text as name, privilege_type as may from pg_database, aclexplode(datacl) where datname = current_database() and grantee <> datdba order by 1, 2`,
    )
    expect(rows.filter(({ may }) => may === 'CONNECT').map(({ name }) => name)).toEqual([
      `freehold_app_${short}_a`,
      `freehold_owner_${short}`,
    ])
    expect(rows.filter(({ may }) => may !== 'CONNECT')).toEqual([{ name: 'freehold_owner', may: 'CREATE' }])
  })

  it('of the owner is no superuser either, and holds the owner’s role alone', async () => {
    const [row] = await rowsOf(
      tenant.owner_url,
      sql`select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as mighty,
        (select array_agg(r.rolname::text) from pg_roles r where pg_has_role(current_user, r.oid, 'member') and r.rolname <> current_user) as roles from pg_roles where rolname = current_user`,
    )
    expect(row).toEqual({ mighty: false, roles: ['freehold_owner'] })
  })
  it('cannot take away what the app may, nor a policy, with `drop owned by freehold_app`', async () => {
    const held = () =>
      tenant.asOwner(sql`select (select count(*)::integer from pg_policy) as policies,
      (select count(*)::integer from pg_proc where has_function_privilege('freehold_app', oid, 'execute') and pronamespace = 'access'::regnamespace) as functions`)
    const before = await held()
    expect(before[0]?.policies).toBeGreaterThan(10)
    expect(before[0]?.functions).toBe(APP_MAY_CALL.length)
    expect(await refusalOf(tenant.app_url, sql`drop owned by freehold_app`)).toMatch(/^42501 permission denied/)
    expect(await held()).toEqual(before)
  })
})
