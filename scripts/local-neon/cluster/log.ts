/** Takes one line of what Postgres says, or of what is done to it. */
export type Log = (line: string) => void
