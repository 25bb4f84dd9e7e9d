import { decodeBase64urlIgnorePadding, encodeBase64urlNoPadding } from '@oslojs/encoding'
import { describe, expect, it } from 'vitest'
import { ConfigError, configOf, parseSettings } from '../../src/kernel/config.ts'

const KEY = `${'Zm9vYmFy'.repeat(5)}Zm8`
const RIGHT = {
  BASE_URL: 'https://freehold.dev',
  MASTER_DATABASE_URL: 'postgresql://user:password@host/database',
  MASTER_READER_URL: 'postgresql://reader:password@host/database',
  ENCRYPTION_KEYS: `k1:${KEY}`,
  OWNER_KEYS: `k1:${'B'.repeat(42)}E`,
  NEON_API_KEY: 'napi_key',
}

/** What is said about these settings, or nothing. */
function said(settings: Record<string, unknown>): string {
  try {
    parseSettings({ ...RIGHT, ...settings })
    return ''
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  }
}

describe('settings', () => {
  it('have defaults, of which the environment is the careful one', () => {
    expect(parseSettings(RIGHT)).toMatchObject({
      ENVIRONMENT: 'production',
      NEON_API_URL: 'https://console.neon.tech/api/v2',
      NEON_REGION: 'aws-us-east-1',
      TENANT_DB_TEMPLATE: 'freehold_{subdomain}',
      HOST_CAPACITY: 200,
      DEFAULT_ISOLATION: 'database',
      PROJECT_COMPUTE_CU: 0.25,
      PASSWORD_HASH_ITERATIONS: 600_000,
    })
    expect(parseSettings(RIGHT).DEFAULT_TENANT).toBeUndefined()
  })

  it.each(Object.keys(RIGHT))('without %s are refused in one sentence that names it', (name) => {
    for (const missing of [undefined, '']) expect(said({ [name]: missing })).toBe(`Wrong settings: ${name} is not set.`)
  })

  it.each<[string, unknown]>([
    ['TENANT_URL', 'https://freehold.dev'],
    ['TENANT_URL', 'https://{subdomain}'],
    ['TENANT_URL', 'https://tenants.{subdomain}.freehold.dev'],
    ['TENANT_URL', 'https://{subdomain}-x.freehold.dev'],
    ['TENANT_URL', 'https://{subdomain}.{subdomain}.freehold.dev'],
    ['TENANT_URL', 'https://{subdomain}.freehold.dev/path'],
    ['TENANT_URL', 'https://{subdomain}.freehold.dev?x=1'],
    ['TENANT_URL', 'https://ada@{subdomain}.freehold.dev'],
    ['TENANT_URL', 'http://{subdomain}.freehold.dev'],
    ['TENANT_URL', 'ftp://{subdomain}.freehold.dev'],
    ['TENANT_URL', 'https://{subdomain}.freehold.dev:8443'],
    ['TENANT_URL', 'https://{subdomain}.example.org'],
    ['SMTP_URL', 'smtp.example.com:587'],
    ['SMTP_URL', 'https://smtp.example.com'],
    ['SMTP_URL', 'smtp://user@smtp.example.com'],
    ['SMTP_URL', 'smtp://:password@smtp.example.com'],
    ['SMTP_URL', 'smtp://us%er:password@smtp.example.com'],
    ['SMTP_URL', 'smtp://smtp.example.com/path'],
    ['SMTP_URL', 'smtp://'],
    ['MAIL_FROM', 'Freehold'],
    ['MAIL_FROM', 'Freehold <no-reply@example.com'],
    ['MAIL_FROM', 'no-reply@example.com>'],
    ['MAIL_FROM', 'a@b.test\r\nBcc: c@d.test'],
    ['MAIL_FROM', 'A\r\nBcc: c@d.test <a@b.test>'],
    ['EMAIL', 'yes'],
    ['SMS_WEBHOOK_URL', 'ftp://example.com'],
    ['PWNED_PASSWORDS_URL', 'ftp://example.com'],
    ['MAILBOX_URL', 'http://127.0.0.1:1'],
    ['BASE_URL', 'example.com'],
    ['BASE_URL', 'ftp://example.com'],
    ['BASE_URL', 'https://example.com/path'],
    ['BASE_URL', 'https://example.com?x=1'],
    ['BASE_URL', 'https://example.com/#x'],
    ['BASE_URL', 'https://user@example.com'],
    ['BASE_URL', 'https://'],
    ['BASE_URL', 'javascript:alert(1)'],
    ['MASTER_DATABASE_URL', 'postgresql://user@host/database'],
    ['MASTER_DATABASE_URL', 'postgresql://user:@host/database'],
    ['MASTER_DATABASE_URL', 'postgresql://:password@host/database'],
    ['MASTER_DATABASE_URL', 'postgresql://user:password@host'],
    ['MASTER_DATABASE_URL', 'postgresql://user:password@host/'],
    ['MASTER_DATABASE_URL', 'mysql://user:password@host/database'],
    ['MASTER_DATABASE_URL', 'host=localhost'],
    ['MASTER_READER_URL', 'postgresql://reader@host/database'],
    ['MASTER_READER_URL', 'host=localhost'],
    ['OWNER_KEYS', KEY],
    ['ENCRYPTION_KEYS', KEY],
    ['ENCRYPTION_KEYS', `k1:${KEY.slice(1)}`],
    ['ENCRYPTION_KEYS', `k1:${KEY}A`],
    ['ENCRYPTION_KEYS', `k1:${KEY},`],
    ['ENCRYPTION_KEYS', `k1:${KEY},k2`],
    ['ENCRYPTION_KEYS', `K1:${KEY}`],
    ['ENCRYPTION_KEYS', `k.1:${KEY}`],
    ['ENCRYPTION_KEYS', 'changeme'],
    ['TENANT_DB_TEMPLATE', 'freehold'],
    ['TENANT_DB_TEMPLATE', '{subdomain}'],
    ['TENANT_DB_TEMPLATE', 'x{subdomain}'],
    ['TENANT_DB_TEMPLATE', 'freehold_{subdomain}_{subdomain}'],
    ['TENANT_DB_TEMPLATE', 'freehold_{tenant}'],
    ['TENANT_DB_TEMPLATE', 'Freehold_{subdomain}'],
    ['TENANT_DB_TEMPLATE', 'freehold-{subdomain}'],
    ['TENANT_DB_TEMPLATE', '9_{subdomain}'],
    ['TENANT_DB_TEMPLATE', 'freehold "{subdomain}"'],
    ['TENANT_DB_TEMPLATE', `${'x'.repeat(41)}{subdomain}`],
    ['DEFAULT_TENANT', 'Acme'],
    ['DEFAULT_TENANT', 'ac me'],
    ['DEFAULT_TENANT', '-acme'],
    ['DEFAULT_TENANT', 'acme.example.com'],
    ['DEFAULT_TENANT', 'a'.repeat(64)],
    ['ENVIRONMENT', 'staging'],
    ['NEON_API_URL', 'console'],
    ['NEON_SQL_URL', 'nowhere'],
    ['FORWARDED_PROTO_HEADER', 'X-Forwarded-Proto: https'],
    ['NEON_POLL_MS', '0'],
    ['NEON_POLL_MS', 'soon'],
    ['HOST_CAPACITY', '241'],
    ['HOST_CAPACITY', '1.5'],
    ['HOST_AWAKE', '0'],
    ['HOST_COMPUTE_CU', '0'],
    ['HOST_COMPUTE_CU', '0.3'],
    ['PROJECT_COMPUTE_CU', '57'],
    ['PROJECT_RESTORE_HOURS', '721'],
    ['PROJECT_QUOTA_HOURS', '0'],
    ['NEON_PG_VERSION', '15'],
    ['DEFAULT_ISOLATION', 'external'],
    ['EXTERNAL_HOSTS', 'localhost'],
    ['EXTERNAL_HOSTS', '10.0.0.1'],
    ['EXTERNAL_HOSTS', 'neon.tech, example.com'],
    ['EXTERNAL_HOSTS', 'https://neon.tech'],
    ['PASSWORD_HASH_ITERATIONS', '599999'],
    ['PASSWORD_HASH_ITERATIONS', '2000001'],
    ['PASSWORD_HASH_ITERATIONS', '600000.5'],
    ['PASSWORD_HASH_ITERATIONS', 'many'],
  ])('whose %s is %j are refused in one sentence that names it', (name, value) => {
    expect(said({ [name]: value })).toMatch(new RegExp(`^Wrong settings: ${name} [^;]+\\.$`))
  })

  it('that are wrong in several places name each, once', () => {
    const message = said({ BASE_URL: 'x', NEON_API_KEY: '', TENANT_DB_TEMPLATE: 'X' })
    for (const name of ['BASE_URL', 'NEON_API_KEY', 'TENANT_DB_TEMPLATE']) expect(message.split(name)).toHaveLength(2)
  })

  it('never repeat a secret in what they say', () => {
    const secrets = {
      MASTER_DATABASE_URL: 'postgresql://user:hunter2@host',
      MASTER_READER_URL: 'postgresql://user:hunter2@host',
      ENCRYPTION_KEYS: `k1:${'S3cret'.repeat(7)}`,
      OWNER_KEYS: `k1:${'S3cret'.repeat(7)}`,
    }
    expect(said(secrets)).not.toMatch(/hunter2|S3cret/)
  })

  it.each(['https://freehold.dev', 'https://freehold.dev/', 'https://localhostess.dev:8787', 'https://id.test.co.uk:8443'])(
    'take %s as a base',
    (BASE_URL) => {
      expect(parseSettings({ ...RIGHT, BASE_URL }).BASE_URL.origin).toBe(new URL(BASE_URL).origin)
    },
  )

  it('take a ring of several keys, in their order', () => {
    const ring = parseSettings({ ...RIGHT, ENCRYPTION_KEYS: ` k2:-${'_'.repeat(41)}8 , k1:${KEY}` }).ENCRYPTION_KEYS
    expect(ring.map(({ id }) => id)).toEqual(['k2', 'k1'])
    expect(ring.map(({ key }) => key.length)).toEqual([32, 32])
    expect(ring[1]?.key).toEqual(decodeBase64urlIgnorePadding(KEY))
  })

  it.each(['{subdomain}_db', 'fh_{subdomain}', `${'x'.repeat(40)}{subdomain}`])('take %s as a template', (TENANT_DB_TEMPLATE) => {
    expect(said({ TENANT_DB_TEMPLATE })).toBe('')
  })

  it('do not take a reader that is the login of the master: it could write', () => {
    for (const ENVIRONMENT of ['production', 'local'])
      expect(said({ ENVIRONMENT, MASTER_READER_URL: 'postgresql://user:other@elsewhere/database' })).toMatch(
        /^Wrong settings: MASTER_READER_URL must name another login than MASTER_DATABASE_URL[^;]+\.$/,
      )
  })

  it('do not take a key for owner logins that is one of the others, whatever its name', () => {
    const other = `o1:${'B'.repeat(42)}E`
    expect(said({ OWNER_KEYS: `${other},o2:${KEY}` })).toMatch(
      /^Wrong settings: OWNER_KEYS must not hold a key of ENCRYPTION_KEYS[^;]+\.$/,
    )
    expect(said({ OWNER_KEYS: other })).toBe('')
    expect(said({ OWNER_KEYS: 'changeme' })).toMatch(/^Wrong settings: OWNER_KEYS must be id:key/)
  })

  it('are parsed once for one environment', () => {
    const env = { ...RIGHT }
    expect(configOf(env)).toBe(configOf(env))
  })
  it('do not take two keys of one name: what the second closed would never open', () => {
    expect(said({ ENCRYPTION_KEYS: `k1:${KEY},k1:${'B'.repeat(42)}E` })).toMatch(/^Wrong settings: ENCRYPTION_KEYS /)
  })
})

describe('in production', () => {
  const HTTP = {
    BASE_URL: 'http://freehold.dev',
    NEON_API_URL: 'http://console.neon.tech/api/v2',
    NEON_SQL_URL: 'http://db.example.com/sql',
    SMS_WEBHOOK_URL: 'http://sms.example.com',
  }
  const locally = (more: object) => said({ ENVIRONMENT: 'local', ...more })

  it.each(Object.entries(HTTP))('%s %s is refused by name, with the reason, and taken locally', (name, url) => {
    const sentence = 'must begin with https:// in production, because over http the network reads passwords, tokens and keys'
    expect(said({ [name]: url })).toBe(`Wrong settings: ${name} ${sentence}.`)
    expect(locally({ [name]: url })).toBe('')
    expect(said({ [name]: url.replace('http', 'https') })).toBe('')
  })

  it.each(['ftp://db.example.com/sql', 'ws://db.example.com', 'httpsx://db.example.com'])('nor is %s taken for https', (url) =>
    expect(said({ NEON_SQL_URL: url })).toMatch(/^Wrong settings: NEON_SQL_URL must begin with https:/),
  )

  it.each([
    ['zeros', 'A'.repeat(43)],
    ['ones', `${'_'.repeat(42)}8`],
    ['one letter', encodeBase64urlNoPadding(new Uint8Array(32).fill(120))],
  ])('a key of %s is refused by name, first or last of the ring, and taken locally', (_, guessable) => {
    for (const ring of [`k1:${guessable}`, `k1:${guessable},k2:${KEY}`, `k2:${KEY},k1:${guessable}`]) {
      const message = said({ ENCRYPTION_KEYS: ring })
      expect(message).toBe(
        'Wrong settings: ENCRYPTION_KEYS has a key of 32 equal bytes, which anybody guesses: make keys with `npm run freehold -- keys new`.',
      )
      expect(locally({ ENCRYPTION_KEYS: ring })).toBe('')
    }
  })

  it.each([
    'example.com',
    'id.example.com',
    'example.org',
    'a.b.example.net',
    'x.example',
    'freehold.test',
    'x.invalid',
    'LOCALHOST:8787',
    'example.com.',
  ])('the placeholder %s is refused as a base by name, and taken locally', (host) => {
    const BASE_URL = `https://${host}`
    expect(said({ BASE_URL })).toBe(
      'Wrong settings: BASE_URL is a placeholder, at which nobody can reach the Worker: set the https:// address of your domain.',
    )
    expect(locally({ BASE_URL })).toBe('')
  })

  it('all that is refused is named at once, and beside what is wrong anywhere', () => {
    const mailbox = { MAILBOX_URL: 'http://127.0.0.1:1', PASSWORD_HASH_ITERATIONS: '1' }
    const message = said({ ...HTTP, ...mailbox, ENCRYPTION_KEYS: `k1:${'A'.repeat(43)}`, NEON_API_KEY: '', HOST_CAPACITY: '0' })
    const names = [...Object.keys(HTTP), ...Object.keys(mailbox), 'ENCRYPTION_KEYS', 'NEON_API_KEY', 'HOST_CAPACITY']
    const named = message.slice('Wrong settings: '.length).split('; ')
    expect(named.map((sentence) => sentence.split(' ')[0]).sort()).toEqual(names.sort())
    expect(said({ BASE_URL: 'http:', ENCRYPTION_KEYS: 'x' })).toMatch(/BASE_URL must be an .*; ENCRYPTION_KEYS must be id:key/)
  })
})

describe('the cost of a hash', () => {
  const cost = (PASSWORD_HASH_ITERATIONS: string, ENVIRONMENT: string) => said({ PASSWORD_HASH_ITERATIONS, ENVIRONMENT })

  it('below the floor is refused in production, by name, with what to do', () => {
    expect(cost('599999', 'production')).toBe(
      'Wrong settings: PASSWORD_HASH_ITERATIONS must be at least 600000 in production, because less makes stolen hashes cheap to guess: raise it, or remove it.',
    )
    expect(said({ PASSWORD_HASH_ITERATIONS: '1000' })).toContain('PASSWORD_HASH_ITERATIONS must be at least 600000')
    for (const enough of ['600000', '2000000']) expect(cost(enough, 'production')).toBe('')
  })

  it('may be low locally, but not nothing', () => {
    expect(parseSettings({ ...RIGHT, ENVIRONMENT: 'local', PASSWORD_HASH_ITERATIONS: '1' }).PASSWORD_HASH_ITERATIONS).toBe(1)
    for (const nothing of ['0', '-1', '1.5', '2000001'])
      expect(cost(nothing, 'local')).toMatch(/^Wrong settings: PASSWORD_HASH_ITERATIONS [^;]+\.$/)
  })
})

describe('settings of mail', () => {
  it.each<[string, object]>([
    ['smtp://smtp.example.com', { host: 'smtp.example.com', port: 587, secure: false, credentials: null }],
    ['smtps://smtp.example.com', { host: 'smtp.example.com', port: 465, secure: true, credentials: null }],
    [
      'smtp://u%40x:p%2Fw@[::1]:2525',
      { host: '::1', port: 2525, secure: false, credentials: { username: 'u@x', password: 'p/w' } },
    ],
  ])('name a server: %s', (SMTP_URL, server) => {
    expect(parseSettings({ ...RIGHT, SMTP_URL, MAIL_FROM: 'a@b.test' }).SMTP_URL).toEqual(server)
  })

  it.each<[string, object]>([
    ['a@b.test', { name: null, address: 'a@b.test' }],
    ['Ñandú & Co. <a@b.test>', { name: 'Ñandú & Co.', address: 'a@b.test' }],
  ])('name a sender: %s', (MAIL_FROM, sender) => {
    expect(parseSettings({ ...RIGHT, MAIL_FROM }).MAIL_FROM).toEqual(sender)
  })

  it('that need another one say which', () => {
    expect(said({ SMTP_URL: 'smtp://smtp.example.com' })).toBe('Wrong settings: MAIL_FROM is not set.')
    expect(said({ EMAIL: { send: () => undefined } })).toBe('Wrong settings: MAIL_FROM is not set.')
    expect(said({ SMS_WEBHOOK_TOKEN: 'x' })).toBe('Wrong settings: SMS_WEBHOOK_URL is not set.')
  })

  it('let a mailbox that anybody may read be used locally alone', () => {
    expect(said({ MAILBOX_URL: 'http://127.0.0.1:1' })).toContain('MAILBOX_URL is for a local start only')
    expect(said({ MAILBOX_URL: 'http://127.0.0.1:1', ENVIRONMENT: 'local' })).toBe('')
  })
})
