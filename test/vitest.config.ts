import { fileURLToPath } from 'node:url'
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

const root = fileURLToPath(new URL('..', import.meta.url))

export default defineConfig({
  test: {
    silent: 'passed-only',
    projects: [
      {
        test: {
          name: 'node',
          root,
          include: ['test/**/*.node.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        plugins: [
          cloudflareTest(({ inject }) => ({
            remoteBindings: false,
            wrangler: { configPath: `${root}wrangler.toml` },
            miniflare: { cf: false, bindings: inject('settings') },
          })),
        ],
        test: {
          name: 'worker',
          root,
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.node.test.ts', 'node_modules/**'],
          globalSetup: ['./test/support/node/stack.ts'],
          setupFiles: ['./test/support/production.ts'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
