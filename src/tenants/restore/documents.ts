/**
 * What a tenant's programs have counted, when the tenant goes back to an earlier branch of its database. Threat: documents that were
 * counted since are counted again, and max_documents holds nobody. So the count goes along with the tenant.
 */
import { type SQL, sql } from 'drizzle-orm'

// In PL/pgSQL, because the schema of an earlier release has no such table.
const IF_COUNTED = `if to_regclass('access.limits') is not null then`

/** Statements for the database that is left, as freehold_owner, of which the last answers `documents`, or null. */
export const documentsIn: SQL[] = [
  sql.raw(`do $$ begin ${IF_COUNTED}
    perform set_config('freehold.documents', (select l.used::text from access.limits l where l.name = 'documents'), true);
    end if; end $$`),
  sql`select nullif(current_setting('freehold.documents', true), '') as documents`,
]

/** Statements for the one that is the tenant's from now on: no fewer are counted there. Repeatable. */
export const keepDocuments = (documents: unknown): SQL[] =>
  documents === null
    ? []
    : [
        sql`select set_config('freehold.documents', ${String(documents)}, true)`,
        sql.raw(`do $$ begin ${IF_COUNTED}
          insert into access.limits as l (name, used) values ('documents', current_setting('freehold.documents')::bigint)
          on conflict (name) do update set used = greatest(l.used, excluded.used);
          end if; end $$`),
      ]
