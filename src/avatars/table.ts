import { index, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { access, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/** Pictures that nobody shows any more, until the scheduled job has deleted their objects. */
export const left_avatars = access.table(
  'left_avatars',
  {
    user_id: uuid()
      .notNull()
      .references(() => users.id),
    version: text().notNull(),
    left_at: moment().notNull().defaultNow(),
  },
  (t) => [primaryKey({ columns: [t.user_id, t.version] }), index('left_avatars_at').on(t.left_at)],
)
