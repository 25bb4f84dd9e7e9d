/** The OpenAPI document with its headers and problems where they are referred to; schemas stay references. */
type Parts = Record<string, Record<string, unknown>>

export function resolved<T>(document: T & { components: unknown }): T {
  const components = document.components as Parts
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk)
    if (typeof value !== 'object' || value === null) return value
    const [, kind = '', name = ''] = /^#\/components\/(\w+)\/(.+)$/.exec(String((value as { $ref?: string }).$ref)) ?? []
    if (kind && kind !== 'schemas') return walk(components[kind]?.[name])
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, walk(part)]))
  }
  return walk(document) as T
}
