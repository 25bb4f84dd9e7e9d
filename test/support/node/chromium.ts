/** Real headless Chromium, whose binary comes from npm, and pages to look at with it. */
import { createServer } from 'node:http'
import chromium from '@sparticuz/chromium'
import puppeteer, { type Browser, type BrowserContext, type Page } from 'puppeteer-core'

/** The binary is built for Linux on x64, where it must start; elsewhere there is none to try. */
export const hasChromium = process.platform === 'linux' && process.arch === 'x64'

/**
 * Not with the arguments that come with the binary: those switch off what browsers hold pages to (--disable-web-security), which is what is
 * looked at here. Nothing is fetched from elsewhere.
 */
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
]

export const startChromium = async (): Promise<Browser> =>
  puppeteer.launch({ args: ARGUMENTS, executablePath: await chromium.executablePath(), headless: 'shell' })

export type Seen = { status: number; body: any; headers: Record<string, string> } | { failed: string }

/**
 * Opens a page of an origin, in a tab of its own. What its Content-Security-Policy keeps scripts from is left to a test of its own: here
 * they ask whatever they like, as those of an attacker would.
 */
export async function openPage(context: BrowserContext, url: string, heeding_policy = false): Promise<Page> {
  const page = await context.newPage()
  await page.setBypassCSP(!heeding_policy)
  await page.goto(url)
  return page
}

/** What a script of the page gets when it asks. */
export const fetchIn = (page: Page, url: string, init: RequestInit = {}): Promise<Seen> =>
  page.evaluate(
    async (to: string, how: string) => {
      try {
        const answer = await fetch(to, JSON.parse(how))
        const text = await answer.text()
        const isJson = /json/.test(answer.headers.get('Content-Type') ?? '')
        return { status: answer.status, body: isJson ? JSON.parse(text) : text, headers: Object.fromEntries(answer.headers) }
      } catch (error) {
        return { failed: String(error) }
      }
    },
    url,
    JSON.stringify(init),
  )

/** The address of what a page shows in a frame, as the browser sees it: one of its own where it may not be shown. */
export async function framed(page: Page, url: string): Promise<string | undefined> {
  const frame = await page.evaluateHandle(
    (src: string) =>
      new Promise<HTMLIFrameElement>((done) => {
        const made = Object.assign(document.createElement('iframe'), { src, onload: () => done(made) })
        document.documentElement.append(made)
      }),
    url,
  )
  return (await frame.asElement()?.contentFrame())?.url()
}

/** Sends an HTML form from the page, which then shows the answer; gives its status. */
export async function submitIn(page: Page, action: string, fields: Record<string, string>, enctype = ''): Promise<number> {
  const [answer] = await Promise.all([
    page.waitForNavigation(),
    page.evaluate(
      (to: string, said: string, type: string) => {
        const form = Object.assign(document.createElement('form'), { method: 'post', action: to, enctype: type })
        for (const [name, value] of Object.entries(JSON.parse(said)))
          form.append(Object.assign(document.createElement('input'), { name, value, type: 'hidden' }))
        document.documentElement.append(form)
        form.submit()
      },
      action,
      JSON.stringify(fields),
      enctype || 'application/x-www-form-urlencoded',
    ),
  ])
  return answer?.status() ?? 0
}

/** The cookies that the browser sends with what a page asks from now on, as it says itself, one entry for each request. */
export async function watchCookies(page: Page): Promise<{ method: string; url: string; cookies: string }[]> {
  const seen: { method: string; url: string; cookies: string }[] = []
  const session = await page.createCDPSession()
  await session.send('Network.enable')
  session.on('Network.requestWillBeSentExtraInfo', ({ headers }) => {
    const of = (name: string) => Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1] ?? ''
    seen.push({ method: of(':method'), url: `${of('host')}${of(':path')}`, cookies: of('cookie') })
  })
  return seen
}

/** A site of somebody else on this machine: a page, under any name that leads here. */
export async function startForeignSite(): Promise<{ port: number; stop: () => Promise<void> }> {
  const server = createServer((_, answer) =>
    answer.setHeader('Content-Type', 'text/html').end('<!doctype html><title>Elsewhere</title>'),
  )
  await new Promise<void>((done) => server.listen(0, done))
  const { port } = server.address() as { port: number }
  return {
    port,
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
