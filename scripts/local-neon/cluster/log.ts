/** Takes one line of the log: from Postgres, or about an action on it. */
export type Log = (line: string) => void
