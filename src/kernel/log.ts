/**
 * Writes one line of JSON: what was done, for which tenant, under which trace id. Never a secret, never a body: callers name
 * the facts one by one.
 */
export function log(
  event: string,
  facts: { tenant?: string | null; trace_id?: string; [fact: string]: string | number | boolean | null | undefined },
) {
  console.log(JSON.stringify({ at: new Date().toISOString(), event, ...facts }))
}
