-- Row level security of an ordinary table in one call: its policies, and the grants of the Worker's login. Policies
-- that stand in a room of their own differ from these, and say why.

-- Protects a table. A transaction that was admitted for one permission writes nothing that needs another one. Without
-- `owner`, `unit` and `member` its rows are reached at scope `all` alone.
--   resource       of its permissions: `note` for note:create, note:read, note:update and note:delete
--   owner          the column with the user whom a row belongs to; whoever reaches an organization reaches what its users own
--   unit           the column with the unit that a row is in
--   member         the column with a user whose unit a row is in
--   is_public      every admitted user reads every row
--   reads          the permissions with which rows are read; null: any
--   inserts        the columns that the Worker may set in a new row; null: all; '{}': it makes none
--   updates        the columns that it may change; null: all; '{}': it changes none
--   deletes        whether it deletes rows; otherwise they end, or are marked
--   inserted_with, updated_with   the actions that make and change rows
--   of_others      what a user is the owner of is not theirs to write, below scope `all`
--   selects        the columns that the Worker reads; null: all
create procedure access.protect(
  relation regclass,
  resource text,
  owner text default null,
  unit text default null,
  member text default null,
  is_public boolean default false,
  reads text[] default null,
  inserts text[] default null,
  updates text[] default null,
  deletes boolean default true,
  inserted_with text[] default '{create}',
  updated_with text[] default '{update}',
  of_others boolean default false,
  selects text[] default null
)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  -- Each `(select ...)` is evaluated once for a statement and not for each row. `= 'all'` is inside, so that the
  -- planner takes it for as likely as not: taken for rare, it would sort whole units to show one page of them.
  everything text := $sql$(select access.scope() = 'all')$sql$;
  units text := '((select access.scope_unit_ids())::uuid[])';
  owned text := case
    when owner is not null then format('%I = any ((select access.scope_owner_ids())::uuid[])', owner)
  end;
  in_unit text := case
    when unit is not null then format('%I = any %s', unit, units)
  end;
  beside text := case
    when member is not null then
      format('exists (select from freehold.users u where u.id = %I and u.unit_id = any %s)', member, units)
    when owner <> 'id' then
      format('(select access.scope() = ''organization'')
        and exists (select from freehold.users u where u.id = %I and u.unit_id = any %s)', owner, units)
  end;
  reached text := format('(%s)', concat_ws(' or ', everything, owned, in_unit, beside));
  written text := case
    when of_others then format('(%s or (%s) and %I is distinct from (select access.principal()))',
      everything, concat_ws(' or ', in_unit, beside), owner)
    else reached
  end;
begin
  execute format('alter table %s enable row level security', relation);
  execute format('grant select%s on %s to freehold_app', access.column_list(selects), relation);
  execute format('create policy read on %s for select using (%s)', relation, case
    when is_public then '(select access.principal()) is not null'
    when reads is null then reached
    else format('(select access.permission() = any (%L::text[])) and %s', reads, reached)
  end);
  if inserts is distinct from '{}' then
    execute format('grant insert%s on %s to freehold_app', access.column_list(inserts), relation);
    execute format(
      'create policy make on %s for insert with check ((select access.permission() = any (%L::text[])) and %s)',
      relation,
      array(select resource || ':' || action from unnest(inserted_with) action),
      written);
  end if;
  if updates is distinct from '{}' then
    execute format('grant update%s on %s to freehold_app', access.column_list(updates), relation);
    execute format(
      'create policy change on %s for update
        using ((select access.permission() = any (%L::text[])) and %s)
        with check %s',
      relation,
      array(select resource || ':' || action from unnest(updated_with) action),
      written,
      written);
  end if;
  if deletes then
    execute format('grant delete on %s to freehold_app', relation);
    execute format('create policy remove on %s for delete using ((select access.permission() = %L) and %s)',
      relation, resource || ':delete', written);
  end if;
end $$;

-- The columns of a grant: ` (a, b)`, or nothing for all of them.
create function access.column_list(columns text[]) returns text
language sql immutable
return (select ' (' || string_agg(quote_ident(name), ', ' order by name) || ')' from unnest(columns) name);
