/** Splits SQL into statements without a server: a semicolon in quotes, in a comment or in a body does not end one. */

export type Statement = {
  /** The statement without the comments before it, and without its semicolon. */
  text: string
  /** The comment lines right before it, or ''. */
  comment: string
  /** The line in the file on which `text` begins, from 1. */
  line: number
}

const TOKEN =
  /--[^\n]*|\/\*[\s\S]*?\*\/|\be'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$|\bbegin\s+atomic\b|\bcase\b|\bend\b|;|[\s\S]/giy

/** The statements of a file, in order. A comment that is followed by an empty line belongs to the file, not to a statement. */
export function splitStatements(source: string): Statement[] {
  const statements: Statement[] = []
  let start = 0
  // Within `begin atomic ... end` a semicolon ends a line of the body; `case` has an `end` of its own.
  let depth = 0
  for (const { 0: token, index } of source.matchAll(TOKEN)) {
    const word = token.toLowerCase()
    if (word.startsWith('begin')) depth++
    else if (word === 'case' && depth) depth++
    else if (word === 'end' && depth) depth--
    if (token !== ';' || depth) continue
    add(source.slice(start, index), start)
    start = index + 1
  }
  add(source.slice(start), start)
  return statements

  function add(piece: string, from: number) {
    const before = /^(?:\s*--[^\n]*(?:\n|$)|\s*\/\*[\s\S]*?\*\/|\s+)*/.exec(piece)?.[0] ?? ''
    const text = piece.slice(before.length).trim()
    if (!text) return
    const comment =
      before
        .split(/\n[ \t]*\n/)
        .at(-1)
        ?.trim() ?? ''
    statements.push({ text, comment, line: source.slice(0, from + before.length).split('\n').length })
  }
}
