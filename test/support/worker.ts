import type { Env as Bindings } from '../../src/kernel/env.ts'

declare global {
  namespace Cloudflare {
    interface GlobalProps {
      mainModule: typeof import('../../src/index.ts')
    }
    interface Env extends Bindings {}
  }
}
