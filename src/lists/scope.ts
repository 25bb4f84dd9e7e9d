/**
 * Lists filtered by scope. Threat: a list that ignores the caller's scope, and one that checks it with a function per row, which
 * is slow. Row level security enforces the scope in any case; this is the same filter in a shape that uses indexes: one branch
 * for each way to access a row.
 */
import { type SQL, sql } from 'drizzle-orm'

type List = {
  /** The selected columns, from `from`. */
  columns: SQL
  /** The table with its alias. */
  from: SQL
  /** The columns of a row's owner and unit. */
  owner: SQL
  unit: SQL
  /** Further conditions, without any sort key that is not in an index. */
  where: SQL
  /** In terms of `from`; its columns must be among `columns`, under the names that `sorted` uses. */
  order: SQL
  sorted: SQL
  limit: number
  /**
   * When the scope covers much of the table, walk the whole order and let row level security filter the rows. Only for a table
   * whose policy reads nothing but the row itself, and what is found out once for a statement.
   */
  walk?: true
  /** Whoever reaches an organization reaches the rows of its users, also those in no unit of it, as access.protect lets them. */
  beside?: true
}

/**
 * The rows in the caller's effective scope: all, or those of its units (each from its own index range) and those of its owners.
 */
export function withinScope({ columns, from, owner, unit, where, order, sorted, limit, walk, beside }: List): SQL {
  const rows = (condition: SQL) =>
    sql`select ${columns} from ${from} where ${condition} and ${where} order by ${order} limit ${limit}`
  const units = sql`(select access.scope_unit_ids())::uuid[]`
  const elsewhere = sql`(${unit} is null or ${unit} <> all (${units}))`
  const besides = sql`
      union all
      (select x.* from (select where (select access.scope()) = 'organization') reach cross join lateral (${rows(sql`${owner} in (select m.id from freehold.users m where m.unit_id = any (${units})) and ${owner} <> all ((select access.scope_owner_ids())::uuid[]) and ${elsewhere}`)}) x)`
  const whole = walk ? sql`(select access.walks())` : sql`((select access.scope()) = 'all')`
  return sql`select * from (
      (${rows(whole)})
      union all
      (select x.* from unnest(case when ${whole} then '{}' else ${units} end) as reach (id) cross join lateral (${rows(sql`${unit} = reach.id`)}) x)
      union all
      (select x.* from unnest((select access.scope_owner_ids())::uuid[]) as mine (id) cross join lateral (${rows(sql`not ${whole} and ${owner} = mine.id and ${elsewhere}`)}) x)${beside ? besides : sql``}
    ) page order by ${sorted} limit ${limit}`
}
