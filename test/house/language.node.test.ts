/** Threat: a sentence that is added and never put into Spanish, or whose Spanish leaves out what the English names. */
import { describe, expect, it } from 'vitest'
import { learnSpanish, SPANISH } from '../../src/i18n/language.ts'
import { database } from '../../src/i18n/spanish/database.ts'
import { problems } from '../../src/i18n/spanish/problems.ts'
import { spanish } from '../../src/i18n/spanish/spanish.ts'
import { worker } from '../../src/i18n/spanish/worker.ts'
import { problemCatalogue } from '../../src/kernel/problem.ts'
import { ofSql, ofTypeScript, PROBE, type Told } from './sentences.ts'

learnSpanish(spanish)

const typescript = ofTypeScript()
const sql = ofSql()
const values = (template: string) => [...template.matchAll(/\{(\w+)(?::parts)?\}/g)].map(([, name]) => name).sort()
const table: [string, string][] = [...Object.entries(worker), ...Object.entries(database)]

/** Sentences that a place hands on and did not write: each is written where another line of this test finds it. */
const HANDED_ON = [
  'src/pages/data.tsx: detail',
  'src/pages/data.tsx: error.message',
  // Statements for an administrator.
  'src/tenants/adoption/login.ts: statement',
  // Hono's, in the Worker's table.
  'src/http/failures.ts: error.message',
  // For records of steps and findings of the doctor, which are in English.
  'src/tenants/provisioning/refused-key.ts: message',
  // What a question before this one was refused with.
  'src/http/ready.ts: refused.detail',
  // The database's.
  'src/kernel/db.ts: detail',
  'src/auth/login.ts: result.said',
  'src/kernel/kernel.sql: said',
  // What another function of the room answered, whose sentences are in the Spanish.
  'src/invitations/giving.sql: reason',
  "src/invitations/placing.sql: case named when 'unit_id' then 'is not a unit that you can access' else 'is not an organization that you can access' end",
  // Rules of passwords, and of tax ids.
  'src/passwords/policy.ts: detail',
  'src/kernel/problem.ts: detail',
  'src/tenants/lifecycle/changing.ts: fault',
  'src/tenants/lifecycle/changing.ts: peruvian',
  'src/tenants/provisioning/new-tenant.ts: fault',
  'src/tenants/provisioning/new-tenant.ts: detail',
  // Faults of links.
  'src/settings/settings.ts: detail',
  // What is wrong with a passkey, in a table of its own.
  'src/passkeys/passkeys.ts: error.message',
  // Why an origin does not count.
  'src/names/origins.ts: detail',
  'src/tenants/registry/origins.ts: NOT_OWN',
  // Why an issuer is none that is taken, in src/providers/urls.ts.
  'src/providers/providers.ts: fault',
  'src/webhooks/webhooks.ts: fault',
  'src/hooks/hooks.ts: fault',
  // What a hook answered.
  "src/hooks/asking.sql: answer ->> 'said'",
  // What a schema finds.
  'src/http/issues.ts: detailOf(issue)',
  'src/users/import-lines.ts: said.fault',
  'src/users/import-lines.ts: password_hash.excess',
]
/** What looks like a sentence, and is told nobody. */
const NOT_TOLD = ['give up']

const withoutSpanish = (told: Told[]) =>
  told
    .filter(({ sentence }) => SPANISH.sentence(sentence) === sentence && !NOT_TOLD.includes(sentence))
    .map(({ at, sentence }) => `${at}: ${sentence}`)

describe('every sentence that a caller is told has its Spanish', () => {
  it('in the Worker', () => expect(withoutSpanish(typescript.told)).toEqual([]))

  it('in the database', () => expect(withoutSpanish(sql.told)).toEqual([]))

  it('in which each value has its place', () => {
    const lost = [...typescript.told, ...sql.told].filter(({ sentence }) =>
      [0, 1, 2, 3, 4].some((i) => sentence.includes(PROBE(i)) && !SPANISH.sentence(sentence).includes(PROBE(i))),
    )
    expect(lost).toEqual([])
  })
})

describe('the collector', () => {
  it('passes over nothing that stands where a sentence goes', () => {
    expect([...typescript.unread, ...sql.unread].filter((place) => !HANDED_ON.includes(place))).toEqual([])
  })

  it('finds as much as there is', () => {
    const count = ({ told }: { told: Told[] }) => new Set(told.map(({ sentence }) => sentence)).size
    expect(count(typescript)).toBeGreaterThanOrEqual(71)
    expect(count(sql)).toBeGreaterThanOrEqual(71)
  })

  it.each<[string, Told[], string]>([
    ['thrown', typescript.told, 'This host is not one of ours.'],
    ['with a value', typescript.told, `There is no tenant ${PROBE(0)}.`],
    ['with a number of the source', typescript.told, 'must be JSON nested at most 16 deep, without NUL or lone surrogates'],
    ['of invalid()', typescript.told, 'cannot be given with link_only'],
    ['of a constant', typescript.told, 'is unknown, used or expired; ask for a new one'],
    ['of a check', typescript.told, 'must be a language tag (BCP 47)'],
    ['of a check by `error`', typescript.told, 'must be a timestamp as in RFC 3339'],
    ['of a check by `message`', typescript.told, 'name either role_id or permissions'],
    ['of an issue', typescript.told, 'is named twice'],
    ['of a rule', typescript.told, `must have at least ${PROBE(0)} different characters`],
    ['of a fault', typescript.told, 'is taken'],
    ['that a function gives', typescript.told, 'has a wrong check digit (RUC)'],
    [
      'of the only setting that callers meet',
      typescript.told,
      'must be a DNS label in lower case: a-z, 0-9 and hyphens, no hyphen at either end',
    ],
    ['refused', sql.told, 'must be a timestamp'],
    ['refused with values', sql.told, `You do not hold ${PROBE(0)} at scope ${PROBE(1)}, so you cannot grant it.`],
    ['raised', sql.told, `${PROBE(0)} of freehold.${PROBE(1)}: the audit is append-only.`],
    ['a phrase of another', sql.told, `assigned to ${PROBE(0)}`],
  ])('finds one %s', (_, told, sentence) => expect(told.map((one) => one.sentence)).toContain(sentence))
})

describe('the tables', () => {
  it('say of each sentence the same values in both languages', () => {
    expect(table.filter(([english, spanish]) => values(english).join() !== values(spanish).join())).toEqual([])
  })

  it('say no sentence twice', () => {
    expect(new Set(table.map(([english]) => english)).size).toBe(table.length)
  })

  it('end as the English does: a sentence with a full stop, a fault without', () => {
    const ends = (text: string) => text.endsWith('.')
    const all = [
      ...table,
      ...Object.entries(problems).map(([code, [, remedy]]) => [problemCatalogue[code as 'forbidden'][2], remedy] as const),
    ]
    expect(all.filter(([english, spanish]) => ends(english) !== ends(spanish))).toEqual([])
  })

  it('have a title and a remedy of their own for each code', () => {
    for (const [code, [, title, remedy]] of Object.entries(problemCatalogue) as [
      keyof typeof problemCatalogue,
      readonly [number, string, string],
    ][]) {
      expect(SPANISH.title(code), code).not.toBe(title)
      expect(SPANISH.sentence(remedy), code).not.toBe(remedy)
    }
  })
})
