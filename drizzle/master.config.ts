import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: ['./src/tenants/table.ts'],
  out: './drizzle/master',
})
