/**
 * Lists under scopes. Threat: a list that forgets the scope of who asks; and one that obeys it by a function per row, which is slow. Row level
 * security holds the scope in any case; here is the same in a shape that walks indexes: one branch for each way to reach a row.
 */
import { type SQL, sql } from 'drizzle-orm'

type List = {
  /** What is shown, from `from`. */
  columns: SQL
  /** The table with its alias. */
  from: SQL
  /** Columns that say whose a row is and in which unit. */
  owner: SQL
  unit: SQL
  /** Further conditions, without any sort key that is not in an index. */
  where: SQL
  /** In terms of `from`; its names must be among `columns`, as `sorted` calls them. */
  order: SQL
  sorted: SQL
  limit: number
  /**
   * Where much of the table is reached, walk its whole order and let row level security pass over the rest. For a table whose policy asks
   * nothing but the row itself.
   */
  walk?: true
}

/** The rows that the admitted person reaches: all, or those of their units (each from its own index range), and what is theirs. */
export function withinScope({ columns, from, owner, unit, where, order, sorted, limit, walk }: List): SQL {
  const rows = (condition: SQL) =>
    sql`select ${columns} from ${from} where ${condition} and ${where} order by ${order} limit ${limit}`
  const whole = walk ? sql`(select access.walks())` : sql`((select access.scope()) = 'all')`
  return sql`select * from (
      (${rows(whole)})
      union all
      (select x.* from unnest(case when ${whole} then '{}' else (select access.scope_unit_ids())::uuid[] end) as reach (id) cross join lateral (${rows(sql`${unit} = reach.id`)}) x)
      union all
      (select x.* from unnest((select access.scope_owner_ids())::uuid[]) as mine (id) cross join lateral (${rows(sql`not ${whole} and ${owner} = mine.id and (${unit} is null or ${unit} <> all ((select access.scope_unit_ids())::uuid[]))`)}) x)
    ) page order by ${sorted} limit ${limit}`
}
