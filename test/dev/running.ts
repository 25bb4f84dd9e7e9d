import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { LOW_COST } from '../support/cost.ts'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export type Ended = { code: number | null; out: string; err: string }
export type Running = { child: ChildProcess; out: () => string; err: () => string; ended: Promise<Ended> }

/** Runs `npm start`'s program, as a child with pipes. The test runner's own BASE_URL is not passed on. */
export function start(args: string[], env: Record<string, string> = {}): Running {
  const { BASE_URL: _, ...rest } = process.env
  const child = spawn(process.execPath, ['scripts/dev/main.ts', ...args], {
    cwd: ROOT,
    env: { ...rest, ...LOW_COST, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  const ended = new Promise<Ended>((done) => child.once('close', (code) => done({ code, out, err })))
  return { child, out: () => out, err: () => err, ended }
}

/** The line of JSON that a start prints when it is ready. */
export async function ready(running: Running): Promise<any> {
  let over = false
  void running.ended.then(() => {
    over = true
  })
  while (!running.out().includes('\n')) {
    if (over) throw new Error(`It ended instead: ${running.err()}`)
    await new Promise((done) => setTimeout(done, 50))
  }
  return JSON.parse(running.out())
}

/** Every process below one, by pid. */
export function below(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        return [[Number(name), Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0])] as const]
      } catch {
        return []
      }
    })
  const children = parents.filter(([, parent]) => parent === pid).map(([child]) => child)
  return [...children, ...children.flatMap(below)]
}

/** True while a process runs; one that has ended and waits to be reaped does not. */
export const alive = (pid: number) => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.charAt(stat.lastIndexOf(')') + 2) !== 'Z'
  } catch {
    return false
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

/** A request to a host that Node cannot resolve: the connection goes to this machine, the name into the request. */
export function ask(
  url: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; body: any }> {
  const { hostname, port, pathname } = new URL(url)
  const headers = { Host: `${hostname}:${port}`, ...(options.body && { 'Content-Type': 'application/json' }), ...options.headers }
  return new Promise((done, fail) => {
    const sent = request(
      { host: '127.0.0.1', port, path: pathname, method: options.method ?? (options.body ? 'POST' : 'GET'), headers },
      (answer) => {
        let text = ''
        answer.on('data', (chunk) => {
          text += chunk
        })
        answer.on('end', () =>
          done({
            status: answer.statusCode ?? 0,
            body: /json/.test(answer.headers['content-type'] ?? '') ? JSON.parse(text) : text,
          }),
        )
      },
    )
    sent.on('error', fail)
    sent.end(options.body)
  })
}
