import { escapeIdentifier, escapeLiteral } from 'pg'
import type { Admin } from '../cluster/admin.ts'

// On Neon a branch is a copy of the whole cluster, roles included. Here it gets databases copied one by one and roles of its own,
// so whatever the copies say about the parent's roles has to be said about the branch's.

type Heirs = Map<string, string>

/** Gives each heir the memberships, members and settings of the role that it replaces. */
async function memberships(admin: Admin, heirs: Heirs): Promise<void> {
  await admin.run(withHeirs(heirs, MEMBERSHIPS))
}

/** Replaces the parent's roles by the heirs in the copy `to`: owners and grants. */
async function database(admin: Admin, { from, to, heirs }: { from: string; to: string; heirs: Heirs }): Promise<void> {
  await admin.runIn(to, withHeirs(heirs, INSIDE))
  await admin.run(withHeirs(heirs, outside(from, to)))
}

export const adopt = { memberships, database }

/** A transaction with the function `heir(oid)`, which returns any other role unchanged. */
function withHeirs(heirs: Heirs, sql: string) {
  const pairs = [...heirs].map(([role, heir]) => `(${escapeLiteral(role)}, ${escapeLiteral(heir)})`)
  const values = pairs.length > 0 ? pairs.join(', ') : `('', '')`
  return `
    begin;
    set local allow_system_table_mods = on;
    create temporary table heirs on commit drop as
      select old.oid as role, new.oid as heir
      from (values ${values}) as pair (old_name, new_name)
      join pg_roles old on old.rolname = old_name join pg_roles new on new.rolname = new_name;
    create function pg_temp.heir(role oid) returns oid language sql as
      'select coalesce((select heirs.heir from heirs where heirs.role = $1), $1)';
    ${sql};
    drop function pg_temp.heir(oid);
    commit;`
}

const MEMBERSHIPS = `
  do $$
  declare
    membership record;
  begin
    for membership in
      select distinct pg_temp.heir(roleid)::regrole as role, pg_temp.heir(member)::regrole as member,
        bool_or(admin_option) as admin, bool_or(inherit_option) as inherit, bool_or(set_option) as set
      from pg_auth_members
      where member in (select role from heirs) or roleid in (select role from heirs)
      group by roleid, member
    loop
      execute format('grant %s to %s with admin %s, inherit %s, set %s',
        membership.role, membership.member, membership.admin::text, membership.inherit::text, membership.set::text);
    end loop;
  end
  $$;
  delete from pg_db_role_setting where setdatabase = 0 and setrole in (select heir from heirs);
  insert into pg_db_role_setting
    select 0, heirs.heir, setting.setconfig
    from pg_db_role_setting setting join heirs on heirs.role = setting.setrole where setting.setdatabase = 0`

/** Every column of the catalogue that names roles, found in the catalogue itself: owners, and lists of grants. */
const INSIDE = `
  create function pg_temp.heirs_of(grants aclitem[]) returns aclitem[] language sql as $sql$
    select array_agg(makeaclitem(pg_temp.heir(grantee), pg_temp.heir(grantor), privileges, is_grantable))
    from (
      select grantee, grantor, is_grantable, string_agg(privilege_type, ',') as privileges
      from aclexplode($1) group by grantee, grantor, is_grantable
    ) as granted
  $sql$;
  do $$
  declare
    place record;
  begin
    if not exists (select from heirs) then return; end if;
    for place in
      select keys.fktable as catalog, keys.fkcols[1] as col, keys.is_array
      from pg_get_catalog_foreign_keys() keys join pg_class on pg_class.oid = keys.fktable
      where keys.pktable = 'pg_authid'::regclass and not pg_class.relisshared
    loop
      if place.is_array then
        execute format('update %1$s set %2$I = array(select pg_temp.heir(one) from unnest(%2$I) as one)
          where %2$I && array(select role from heirs)', place.catalog, place.col);
      else
        execute format('update %1$s set %2$I = pg_temp.heir(%2$I) where %2$I in (select role from heirs)', place.catalog, place.col);
      end if;
    end loop;
    for place in
      select attribute.attrelid::regclass as catalog, attribute.attname as col
      from pg_attribute attribute join pg_class on pg_class.oid = attribute.attrelid
      where attribute.atttypid = 'aclitem[]'::regtype and pg_class.relnamespace = 'pg_catalog'::regnamespace
        and pg_class.relkind = 'r' and not pg_class.relisshared
    loop
      execute format('update %1$s set %2$I = pg_temp.heirs_of(%2$I)
        where exists (select from aclexplode(%2$I) where grantee in (select role from heirs) or grantor in (select role from heirs))',
        place.catalog, place.col);
    end loop;
    update pg_shdepend set refobjid = pg_temp.heir(refobjid)
      where dbid = (select oid from pg_database where datname = current_database())
        and refclassid = 'pg_authid'::regclass and refobjid in (select role from heirs);
  end
  $$;
  drop function pg_temp.heirs_of(aclitem[])`

/** What the cluster stores about a database outside it, so that a copy lacks it: owner, CONNECT privileges, settings. */
function outside(from: string, to: string) {
  const copy = escapeIdentifier(to)
  return `
    do $$
    declare
      granted record;
    begin
      execute (select format('alter database ${escaped(copy)} owner to %s', pg_temp.heir(datdba)::regrole)
        from pg_database where datname = ${escapeLiteral(from)});
      if (select datacl is not null from pg_database where datname = ${escapeLiteral(from)}) then
        revoke all on database ${copy} from public;
        for granted in
          select case when acl.grantee = 0 then 'public' else pg_temp.heir(acl.grantee)::regrole::text end as grantee,
            acl.privilege_type, acl.is_grantable
          from pg_database, aclexplode(datacl) as acl where datname = ${escapeLiteral(from)}
        loop
          execute format('grant %s on database ${escaped(copy)} to %s %s', granted.privilege_type, granted.grantee,
            case when granted.is_grantable then 'with grant option' else '' end);
        end loop;
      end if;
    end
    $$;
    insert into pg_db_role_setting
      select copy.oid, pg_temp.heir(setting.setrole), setting.setconfig
      from pg_database copy, pg_database original join pg_db_role_setting setting on setting.setdatabase = original.oid
      where copy.datname = ${escapeLiteral(to)} and original.datname = ${escapeLiteral(from)}`
}

/** Inside a string that `format` reads. */
const escaped = (identifier: string) => identifier.replaceAll("'", "''").replaceAll('%', '%%')
