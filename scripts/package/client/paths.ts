/** The paths of the API. In the package this file is generated from the OpenAPI document (../main.ts). */
// biome-ignore lint/complexity/noBannedTypes: what openapi-fetch takes paths for that are not known yet.
export type paths = {}
