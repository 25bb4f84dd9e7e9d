/** Where a client works, and what it saw there: the same for every client. */
export type At = { url: string; tenant: string; email: string; password: string; role: string; imported: string }

export type Seen = {
  /** The users of all pages, one on each. */
  usernames: string[]
  /** What the role was changed to under its tag, and the code of a change under the same tag again. */
  changed: string | null | undefined
  again: string | undefined
  /** The lines that answered an import. */
  lines: { code?: string; complete?: boolean }[]
  /** The problem of a role that nobody has. */
  missing: { status: number; code: string }
}

export const NOBODY = '01932f7e-0000-7000-8000-000000000000'

export const linesOf = (text: string): Seen['lines'] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
