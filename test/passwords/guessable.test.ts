/** Threat: a password that keeps every rule about length and characters is one of the first that a cracking program tries. */
import { describe, expect, it } from 'vitest'
import type { Surroundings } from '../../src/passwords/guessable.ts'
import { GUESSED_WORDS } from '../../src/passwords/guessed-words.ts'
import { DEFAULT_POLICY, generateFor, type Policy, weaknesses } from '../../src/passwords/policy.ts'
import { presets } from '../../src/presets/presets.ts'

const DEMO = { subdomain: 'demo', legal_name: 'Laboratorios Ándinos del Sur S.A.C.', url: 'https://demo.ids.example.com' }
const POLICIES: [string, Policy][] = [
  ['the default policy', DEFAULT_POLICY],
  ['the policy of `lims`', { ...DEFAULT_POLICY, ...presets.lims?.settings }],
]
const COMMON = 'must not be one of the commonest passwords, also with digits and signs around it or in place of letters'
const WORDS =
  'must not be made of names of the tenant or the product, or of words that are guessed first, such as seasons and months'
const SEQUENCE = 'must not be a sequence or a repetition of a few characters'

/** What is said of a password about how easily it is guessed. */
const said = async (password: string, policy = DEFAULT_POLICY, at: Surroundings = DEMO) =>
  (await weaknesses(password, {}, policy, at)).filter((rule) => [COMMON, WORDS, SEQUENCE].includes(rule))

describe.each(POLICIES)('under %s', (_, policy) => {
  it.each([
    ['Summer-2026!', WORDS],
    ['Winter2026!', WORDS],
    ['Administrator-1', WORDS],
    ['Demo-demo-2026!', WORDS],
    ['Demo@2026', WORDS],
    ['P@ssw0rd2026!', COMMON],
    ['Freehold-2026!', WORDS],
  ])('%s is refused, and told why', async (password, reason) => expect(await said(password, policy)).toContain(reason))

  it.each(['Correct-Horse-7-Battery', 'Correct-horse-7', 'Str0ng-Horse-77!', 'First-Pw-123!x', 'Orchid-Mango-42!'])(
    '%s is taken',
    async (password) => expect(await weaknesses(password, {}, policy, DEMO)).toEqual([]),
  )

  it('what is generated is taken, wherever it is for', async () => {
    for (let i = 0; i < 50; i++) expect(await said(await generateFor({}, policy, DEMO), policy)).toEqual([])
  })
})

describe('a common password', () => {
  it.each([
    ['in capitals', 'PASSWORD'],
    ['with a year and a sign', 'Password2026!'],
    ['with signs before and behind', '***Sunshine***'],
    ['in leet', '5un5h1n3-2026'],
    ['in leet at its ends, too', '!L0v3y0u-2026'],
    ['whose digits are in the middle', '1q2w3e4r5t6y'],
    ['of digits alone', '1234567890'],
    ['written with signs between', 'p.a.s.s.w.o.r.d-77'],
    ['twice', 'Dragon-dragon-2026'],
    ['twice, each with a year', 'Dragon2026Dragon2026'],
    ['twice, each with a digit', 'Dragon-7-Dragon-7'],
    ['with accents', 'Pássword-2026!'],
    ['in wide letters', 'Ｐａｓｓｗｏｒｄ-2026!'],
    ['as i for l', 'Footbaii-2026!'],
  ])('is found %s', async (_, password) => expect(await said(password)).toContain(COMMON))

  it.each(['Dragon-Kettle-2026', 'sunshine over the harbour', 'password is not my password at all'])(
    'is not found in %s, which has other words',
    async (password) => expect(await said(password)).toEqual([]),
  )
})

describe('a name of the tenant, of the product or of the host', () => {
  it.each([
    ['the subdomain', 'Demo-2026-11'],
    ['the subdomain in leet at its end', 'D3m0-2026-11'],
    ['the subdomain around its year', 'demo2026demo'],
    ['the subdomain many times', 'demo-demo-demo-demo-demo-2026'],
    ['the subdomain and a year many times', 'demo26demo26demo26demo26demo26'],
    ['the legal name', 'Laboratorios-Andinos-del-Sur-SAC'],
    ['a word of the legal name', 'Andinos-2026!'],
    ['a label of the host', 'Example-2026!'],
    ['the whole host', 'demo.ids.example.com'],
    ['the product', 'Fr33h0ld-2026!'],
    ['the product and the tenant', 'Freehold-Demo-1'],
    ['the tenant and a word', 'Welcome-to-Demo!'],
    ['the tenant and a word, in Spanish', 'Bienvenido-demo-1'],
    ['the tenant behind digits', '2026-demo-2026'],
  ])('is found as %s', async (_, password) => expect(await said(password)).toContain(WORDS))

  it('is found without the digits in it, and with them', async () => {
    const at = { ...DEMO, subdomain: 'acme-77', legal_name: 'Acme' }
    for (const password of ['Acme-2026-11!', 'Acme-77-2026!'])
      expect(await said(password, DEFAULT_POLICY, at), password).toEqual([WORDS])
  })

  it('is not found in a password of other words, nor elsewhere', async () => {
    for (const password of ['Demo-Kettle-2026', 'Andinos-Kettle-1']) expect(await said(password), password).toEqual([])
    const elsewhere = { subdomain: 'globex', legal_name: 'Globex', url: 'https://globex.example.com' }
    expect(await said('Andinos-Demo-2026!', DEFAULT_POLICY, elsewhere)).toEqual([])
  })

  it('of a platform is found, which has no subdomain', async () => {
    const at = { subdomain: null, legal_name: 'Freehold', url: 'https://ids.example.com' }
    expect(await said('Freehold-2026!', DEFAULT_POLICY, at)).toEqual([WORDS])
  })
})

describe('a word that is guessed first', () => {
  it('is found with a year behind it, whichever it is', async () => {
    const words = Object.values(GUESSED_WORDS).join(' ').split(/\s+/)
    expect(words.length).toBeGreaterThan(150)
    for (const word of words) expect(await said(`${word}-2026-2027!`), word).toContain(WORDS)
  })

  it.each(['Contraseña-2026!', 'OTOÑO-2026-!!', 'Bienvenido-2026', 'Qwerty-Admin-26', 'Adm1n1str@d0r'])(
    'is found in %s',
    async (password) => expect(await said(password)).toContain(WORDS),
  )

  it('is not found in four words and more, whichever they are', async () => {
    expect(await said('secret-monday-summer-cloud')).toEqual([])
    expect(await said('secret-monday-summer')).toEqual([WORDS])
  })
})

describe('a sequence', () => {
  it.each([
    'aaaaaaaaaaaa',
    'abcabcabcabcabc',
    '121212121212',
    '            ',
    'abcdefghijkl',
    'ZYXWVUTSRQPO',
    '9876543210987',
    'asdfghjklzxcv',
    'QWERTZUIOPAS-2026',
    '2026-abc-2026',
    '0123456789ab',
    'aaaaaaaaaaab',
    'aaaaaabbbbbb',
    '1111111111112',
    'qwer1234asdf',
    'abcd-1234-abcd',
    '!@#$%^&*()_+',
    '!QAZ2wsx#EDC',
  ])('is %s', async (password) => expect(await said(password)).toContain(SEQUENCE))

  it.each(['7391-5528-0461', 'abcdefgh-kettle', 'kf8jq2kf8jq2', 'Zoo-2026-Kiwi!', 'feed-bee-1209'])(
    'is not %s',
    async (password) => expect(await said(password)).toEqual([]),
  )
})

it('none of it is looked for where the tenant says so', async () => {
  const policy = { ...DEFAULT_POLICY, password_common: false }
  for (const password of ['Password-2026', 'Demo-demo-2026', 'aaaaaaaaaaaa'])
    expect(await weaknesses(password, {}, policy, DEMO)).toEqual([])
})

describe('a part of the own name', () => {
  const own = { given_name: 'José', family_name: 'Lovelace', username: 'ada99', email: 'ada99@globex.com' }
  const PERSONAL = 'must not contain a part of the name or e-mail'
  const rules = (password: string, user = own) => weaknesses(password, user, DEFAULT_POLICY, DEMO)

  it.each([
    ['as it is', 'lovelace-kettle-1'],
    ['in leet', 'Kettle-L0vel@ce'],
    ['with signs between', 'l.o.v.e.l.a.c.e-kettle'],
    ['without its accent', 'Jose-Kettle-2026'],
    ['with another accent', 'Jòsè-Kettle-2026'],
    ['with its accent as a character of its own', 'Jose\u0301-Kettle-2026'],
  ])('is found %s', async (_, password) => expect(await rules(password)).toContain(PERSONAL))

  it('is found where the name itself has its accent as a character of its own', async () =>
    expect(await rules('José-Kettle-2026', { ...own, given_name: 'Jose\u0301' })).toContain(PERSONAL))

  it('is not found in other words, nor a short one in leet', async () => {
    expect(await rules('Orchid-Mango-42!')).toEqual([])
    expect(await rules('Ketb0xtle-2026!', { ...own, given_name: 'Box' })).toEqual([])
    expect(await rules('Orchid-Mango-42!', { ...own, username: '\u0663\u0663\u0663\u0663' })).toEqual([])
  })
})
