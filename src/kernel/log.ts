/** Writes one line of JSON: the event, its tenant and trace id. Never a secret, never a body: callers name each field. */
export function log(
  event: string,
  fields: { tenant?: string | null; trace_id?: string; [field: string]: string | number | boolean | null | undefined },
) {
  console.log(JSON.stringify({ at: new Date().toISOString(), event, ...fields }))
}
