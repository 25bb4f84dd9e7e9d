/**
 * What the Worker uses of zod-to-openapi: nothing. wrangler bundles this file wherever @hono/zod-openapi imports it (wrangler.toml,
 * alias): the document is made when the Worker is built (document.ts). A schema keeps its method `openapi`, which changes nothing.
 */
import type { ZodType } from 'zod'

/** The registry of a router, of which nothing is kept. */
export class OpenAPIRegistry {
  readonly definitions = []
  registerPath() {}
}

export function extendZodWithOpenApi({ ZodType: { prototype } }: { ZodType: typeof ZodType }): void {
  Object.assign(prototype, {
    openapi(this: ZodType) {
      return this
    },
  })
}

const refuse = () => {
  throw new Error('The Worker makes no document.')
}
export const getOpenApiMetadata = refuse
export class OpenApiGeneratorV3 {
  constructor() {
    refuse()
  }
}
export { OpenApiGeneratorV3 as OpenApiGeneratorV31 }
