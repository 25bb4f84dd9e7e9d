/**
 * What the Worker uses of zod. wrangler bundles this file wherever `zod` is imported (wrangler.toml, alias): `z` is an object there that
 * @hono/zod-openapi passes on whole, and so all of zod would be bundled, with 64 languages of which none is used. A name that is
 * missing here is a warning of the build, which test/dev/bundle.node.test.ts does not accept.
 */
import * as z from './zod-names.ts'

export * from './zod-names.ts'
export { z }
export default z
