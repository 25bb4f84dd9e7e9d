const HEX_32 = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/

/** A new trace id. */
export const newTraceId = () => crypto.randomUUID().replaceAll('-', '')

/** The trace id of a request: the caller's, from `traceparent` (W3C Trace Context), or a new one. 32 hex digits. */
export function traceId(traceparent: string | undefined): string {
  const given = HEX_32.exec(traceparent ?? '')?.[1]
  return given && !/^0+$/.test(given) ? given : newTraceId()
}
