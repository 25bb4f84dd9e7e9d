/**
 * Collects what callers are told, from the sources: the syntax tree of TypeScript, the statements of SQL. What stands where a sentence goes and
 * cannot be read is given as such, so that nothing is passed over.
 */
import { parseAst } from 'vitest/node'
import { filesIn, read } from './sources.ts'

/** A sentence with a `PROBE` for each value, where it stands; or what could not be read there. */
export type Told = { at: string; sentence: string }
export type Collected = { told: Told[]; unread: string[] }
type Node = { type: string; start: number; end: number } & Record<string, any>

/** What stands for the value number `i`. */
export const PROBE = (i: number) => `Zq${i}q`
/** Rules and faults have no subject: that is the field. */
const PREDICATE =
  /^(must|may|cannot|is|are|has|have|had|lies|would|was|were|does|give|name|ask|there is|takes?|needs?|begins?|ends?) \S/

/** Words that callers never see: of mails, of pages, of the settings of the service; there are those of Label that name a tenant. */
const ELSEWHERE = /^src\/(mail|docs|pages\/words|i18n\/spanish)\//
const SETTINGS = ['src/kernel/config.ts', 'src/tenants/provisioning/accounts.ts']

export function ofTypeScript(): Collected {
  const all: Collected = { told: [], unread: [] }
  for (const file of filesIn('src').filter((name) => !ELSEWHERE.test(name) && !name.endsWith('.d.ts'))) {
    const text = read(file)
    const program = parseAst(text, { lang: file.endsWith('x') ? 'tsx' : 'ts' }) as unknown as Node
    const parts = SETTINGS.includes(file)
      ? nodesIn(program).filter((node) => node.type === 'VariableDeclarator' && node.id.name === 'Label')
      : [program]
    for (const part of parts) collect(file, text, program, part, all)
  }
  return all
}

function collect(file: string, text: string, program: Node, part: Node, all: Collected) {
  const lineOf = (node: Node) => text.slice(0, node.start).split('\n').length
  const seen = new Set<Node>()
  const take = (node: Node | undefined) => {
    if (!node || seen.has(node)) return
    seen.add(node)
    const sentences = sentencesOf(node, program)
    if (!sentences) all.unread.push(`${file}: ${text.slice(node.start, node.end)}`)
    for (const sentence of sentences ?? []) all.told.push({ at: `${file}:${lineOf(node)}`, sentence })
  }
  const isText = (node: Node | undefined) => node && textsOf(node, program).length > 0
  for (const node of nodesIn(part)) {
    const { type, callee, arguments: given = [] } = node
    if (type === 'NewExpression' && callee.name === 'Problem') take(given[1])
    if (type === 'CallExpression' && callee.name === 'invalid') take(given[1])
    // A check of zod's takes its message as the last thing that it is given.
    if (
      type === 'CallExpression' &&
      callee.type === 'MemberExpression' &&
      /^(regex|refine|email|url)$/.test(callee.property.name)
    )
      if (given.length > (/^(regex|refine)$/.test(callee.property.name) ? 1 : 0) && given.at(-1).type !== 'ObjectExpression')
        if (given.at(-1).type !== 'Identifier' || isText(given.at(-1))) take(given.at(-1))
    if (type === 'ObjectExpression') {
      const value = (name: string) => node.properties.find((property: Node) => property.key?.name === name)?.value
      const isSchema = /^z\./.test(text.slice(value('detail')?.start ?? 0, value('detail')?.end ?? 0))
      if (value('pointer') && !isSchema) take(value('detail'))
      for (const name of ['message', 'error', 'fault', 'excess', 'detail']) if (isText(value(name))) take(value(name))
    }
    if ((type === 'Literal' || type === 'TemplateLiteral') && textsOf(node, program).some((said) => PREDICATE.test(said)))
      take(node)
  }
}

/** Every node under one; what `sql` is written in is no text of ours. */
function nodesIn(node: Node): Node[] {
  if (node.type === 'TaggedTemplateExpression') return nodesIn(node.quasi).filter(({ type }) => type !== 'TemplateLiteral')
  const inner = Object.values(node)
    .flat()
    .filter((value): value is Node => typeof value === 'object' && value !== null && typeof value.type === 'string')
  return [node, ...inner.flatMap(nodesIn)]
}

/** What an expression can say; null when it cannot be known from here. Nothing said is the catalogue's to say. */
function sentencesOf(node: Node, program: Node): string[] | null {
  if (node.type === 'Identifier' && node.name === 'undefined') return []
  const texts = textsOf(node, program)
  return texts.length ? texts : null
}

function textsOf(node: Node, program: Node): string[] {
  if (node.type === 'Literal') return typeof node.value === 'string' ? [node.value] : []
  if (node.type === 'TSAsExpression' || node.type === 'ParenthesizedExpression') return textsOf(node.expression, program)
  if (node.type === 'ConditionalExpression') return both(textsOf(node.consequent, program), textsOf(node.alternate, program))
  if (node.type === 'LogicalExpression') return both(textsOf(node.left, program), textsOf(node.right, program))
  if (node.type === 'Identifier') {
    const init = constant(node.name, program)
    return init ? textsOf(init, program) : []
  }
  if (node.type !== 'TemplateLiteral') return []
  // Each way that the values can be, where they are words of the source themselves.
  return node.quasis.reduce(
    (said: string[], quasi: Node, i: number) => {
      const value: Node | undefined = node.expressions[i]
      const words = value ? valuesOf(value, program) : ['']
      return said.flatMap((text) => (words.length ? words : [PROBE(i)]).map((word) => text + quasi.value.cooked + word))
    },
    [''],
  )
}

const both = (one: string[], other: string[]) => (one.length && other.length ? [...one, ...other] : [])

const valuesOf = (node: Node, program: Node): string[] => {
  const init = node.type === 'Identifier' ? constant(node.name, program) : undefined
  return init?.type === 'Literal' && typeof init.value === 'number' ? [String(init.value)] : textsOf(node, program)
}

/** What a `const` is of which a file has only one by this name. */
function constant(name: string, program: Node): Node | undefined {
  const declared = nodesIn(program).filter((node) => node.type === 'VariableDeclarator' && node.id.name === name)
  return declared.length === 1 ? declared[0]?.init : undefined
}

/** Sentences of refusals, details of what is raised, phrases that they are made of, and predicates wherever they stand. */
export function ofSql(): Collected {
  const all: Collected = { told: [], unread: [] }
  for (const file of filesIn('src', '.sql')) {
    const text = read(file).replace(/--[^\n]*/g, (comment) => ' '.repeat(comment.length))
    const take = (expression: string, from: number) => {
      const sentences = ofExpression(expression)
      if (!sentences) all.unread.push(`${file}: ${expression}`)
      for (const sentence of sentences ?? []) all.told.push({ at: `${file}:${text.slice(0, from).split('\n').length}`, sentence })
    }
    for (const { index } of text.matchAll(/(?<!function )access\.refuse\(/g))
      take(argumentsAt(text, index + 'access.refuse('.length)[1] ?? '', index)
    for (const { index, 0: written } of text.matchAll(/\bdetail\s*=\s*/g)) {
      if (!/raise exception using [^;]*$/.test(text.slice(Math.max(0, index - 300), index))) continue
      take(argumentsAt(text, index + written.length)[0] ?? '', index)
    }
    for (const { index } of text.matchAll(/\(select format\(/g))
      take(`format(${argumentsAt(text, index + 15).join(', ')})`, index)
    for (const { index, 0: quoted } of text.matchAll(/'(?:[^']|'')+'/g))
      if (PREDICATE.test(quoted.slice(1)) && !/format\($/.test(text.slice(0, index))) take(quoted, index)
  }
  return all
}

/** What stands between the commas of a list that begins here, up to where it ends. */
function argumentsAt(text: string, from: number): string[] {
  const found = ['']
  let depth = 0
  for (let i = from; i < text.length; i++) {
    const quoted = text[i] === "'" ? (/^'(?:[^']|'')*'/.exec(text.slice(i, i + 2000))?.[0] ?? "'") : (text[i] ?? '')
    if (quoted === '(' || quoted === '[') depth++
    if (quoted === ')' || quoted === ']') depth--
    if (depth < 0 || quoted === ';') break
    if (quoted === ',' && depth === 0) found.push('')
    else found.push(`${found.pop()}${quoted}`)
    i += quoted.length - 1
  }
  return found.map((argument) => argument.trim())
}

function ofExpression(expression: string): string[] | null {
  const [, quoted] = /^'((?:[^']|'')*)'$/.exec(expression) ?? []
  if (quoted !== undefined) return [quoted.replaceAll("''", "'")]
  const [, called, list] = /^(format|coalesce)\((.*)\)$/s.exec(expression) ?? []
  const given = list === undefined ? [] : argumentsAt(list, 0)
  if (called === 'format') {
    let i = 0
    return ofExpression(given[0] ?? '')?.map((text) => text.replace(/%s/g, () => PROBE(i++))) ?? null
  }
  const each = called === 'coalesce' ? given.map(ofExpression) : [null]
  return each.includes(null) ? null : each.flatMap((sentences) => sentences ?? [])
}
