import { sql } from 'drizzle-orm'
import { boolean, check, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'

/** What is asked before something is done: for each act one at most that is not paused. */
export const hooks = freehold.table(
  'hooks',
  {
    id: uuid().primaryKey(),
    act: text({ enum: ['user.create', 'login', 'invitation.accept'] }).notNull(),
    url: text().notNull(),
    /** What follows where it does not answer: the act (`open`), or a refusal (`closed`). */
    on_failure: text({ enum: ['open', 'closed'] }).notNull(),
    is_paused: boolean().notNull().default(false),
    secret_encrypted: text().notNull(),
    /** The secret before, with which is signed, too, until then. */
    former_secret_encrypted: text(),
    former_until: moment(),
    created_at: moment().notNull().defaultNow(),
    updated_at: moment().notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('hooks_act').on(t.act).where(sql`not ${t.is_paused}`),
    check('hooks_texts', sql`length(${t.url}) between 1 and 500`),
    check(
      'hooks_kinds',
      sql`${t.act} in ('user.create', 'login', 'invitation.accept') and ${t.on_failure} in ('open', 'closed')`,
    ),
  ],
)
