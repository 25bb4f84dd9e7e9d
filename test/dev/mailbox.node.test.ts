/** The local mailbox. Threat: what is in a mail is anybody's, and other pages of the same browser must not read it. */
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Mailbox, startMailbox } from '../../scripts/dev/mailbox.ts'

const EVIL = '<script>alert(1)</script>"\'&'
const MAIL = {
  id: '1',
  channel: 'email',
  from: 'a@b.test',
  to: 'ada@acme.test',
  subject: 'Hello',
  text: 'Text',
  html: '<p>HTML</p>',
}
let mailbox: Mailbox

beforeAll(async () => {
  mailbox = await startMailbox({ keep: 3 })
})
afterAll(() => mailbox.stop())

const put = (mail: object, headers: Record<string, string> = { 'Content-Type': 'application/json' }) =>
  fetch(`${mailbox.url}/mails`, { method: 'POST', headers, body: JSON.stringify(mail) })
const json = async (query = '') =>
  (await (await fetch(`${mailbox.url}/mails.json${query}`)).json()) as { no: number; to: string }[]
const page = async (path: string) => (await fetch(mailbox.url + path)).text()

describe('the mailbox', () => {
  it('keeps the newest, newest first, and finds those to one address', async () => {
    for (const to of ['ada@acme.test', 'bo@acme.test', 'ada@acme.test', 'cy@acme.test'])
      expect((await put({ ...MAIL, to })).status).toBe(201)
    expect((await json()).map(({ to }) => to)).toEqual(['cy@acme.test', 'ada@acme.test', 'bo@acme.test'])
    expect((await json('?to=ada%40acme.test')).map(({ to }) => to)).toEqual(['ada@acme.test'])
  })

  it('shows them as text, and HTML in a frame that may do nothing', async () => {
    await put({ ...MAIL, to: EVIL, from: EVIL, subject: EVIL, text: EVIL, html: `<b>${EVIL}</b>` })
    const [newest] = await json()
    for (const shown of [await page('/'), await page(`/mails/${newest?.no}`), await page(`/?to=${encodeURIComponent(EVIL)}`)]) {
      expect(shown).not.toContain('<script')
      expect(shown).toContain('&lt;script&gt;')
    }
    expect(await page(`/mails/${newest?.no}`)).toContain('<iframe sandbox ')
    expect((await fetch(mailbox.url)).headers.get('Content-Security-Policy')).toContain("default-src 'none'")
  })

  it('listens on this machine alone, and answers to no name that is not this machine’s', async () => {
    expect(mailbox.url).toMatch(/^http:\/\/127\.0\.0\.1:/)
    const status = await new Promise((done) =>
      request(`${mailbox.url}/mails.json`, { headers: { Host: 'evil.example' } }, (answer) => done(answer.statusCode)).end(),
    )
    expect(status).toBe(421)
  })

  it('takes nothing that a form of another page could send, and says what is missing', async () => {
    expect((await put(MAIL, { 'Content-Type': 'text/plain' })).status).toBe(415)
    const answer = await put({ ...MAIL, subject: undefined })
    expect([answer.status, await answer.text()]).toEqual([400, 'subject is missing.'])
  })
})
