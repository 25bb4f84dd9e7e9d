import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: [
    './src/users/table.ts',
    './src/units/table.ts',
    './src/delegations/table.ts',
    './src/roles/table.ts',
    './src/sessions/table.ts',
    './src/access/table.ts',
    './src/audit/table.ts',
    './src/mail/table.ts',
    './src/recovery/table.ts',
    './src/api-keys/table.ts',
  ],
  out: './drizzle/tenant',
})
