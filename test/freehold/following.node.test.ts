/** What the CLI shows of something that goes on. Threat: a stream that cannot be had, or breaks, leaves an operator without an end. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { withApi } from '../../scripts/freehold/api.ts'
import { following } from '../../scripts/freehold/following.ts'

const State = z.object({ n: z.number() })
const event = (n: number, id = `id${n}`) => `id: ${id}\nevent: state\ndata: {"n":${n}}\n\n`
const END = 'event: end\ndata: {}\n\n'

let stop: (() => void) | undefined
afterEach(() => {
  stop?.()
  delete process.env.FREEHOLD_TOKEN
})

/** The states that are shown until three, and what was asked for; `stream` answers for the events, null: there are none. */
async function shown(stream: ((asked: IncomingMessage, answer: ServerResponse, times: number) => void) | null) {
  const asked: string[] = []
  let n = 0
  let streams = 0
  const server = createServer((request, response) => {
    const last = request.headers['last-event-id']
    asked.push(`${request.url?.replace('/platform/v1', '')}${last ? ` after ${last}` : ''}`)
    if (request.url?.endsWith('/events') && stream) return stream(request, response, ++streams)
    response.setHeader('Content-Type', 'application/json')
    if (request.url?.endsWith('/events'))
      return response.writeHead(404).end(JSON.stringify({ title: 'Not found', code: 'not_found' }))
    response.end(JSON.stringify({ n: ++n }))
  }).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  stop = () => {
    server.closeAllConnections()
    server.close()
  }
  process.env.FREEHOLD_TOKEN = 'a.b.c'
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const states: number[] = []
  await withApi({ url, data: '/nowhere' } as Parameters<typeof withApi>[0], async (api) => {
    for await (const state of following(api, State, '/thing')) {
      states.push(state.n)
      if (state.n >= 3) break
    }
  })
  return { states, asked }
}

const begin = (answer: ServerResponse) => answer.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('retry: 2000\n\n')

test('it is what the stream tells, also while nothing changes, and nothing is asked for beside it', async () => {
  const { states, asked } = await shown((_, answer) => {
    begin(answer)
    answer.write(event(1))
    answer.write(`:\n\n${event(2).slice(0, 9)}`)
    setTimeout(() => answer.end(event(2).slice(9) + event(3) + END), 50)
  })
  expect([states, asked]).toEqual([[1, 1, 2, 3], ['/thing/events']])
})

test('a stream that ends before its end is opened again after the last event', async () => {
  const { states, asked } = await shown((_, answer, times) => {
    begin(answer)
    answer.end(times === 1 ? event(1) : event(3) + END)
  })
  expect([states, asked]).toEqual([
    [1, 1, 3],
    ['/thing/events', '/thing/events after id1'],
  ])
})

test.each<[string, Parameters<typeof shown>[0]]>([
  ['that an older server does not have', null],
  ['that breaks', (_, answer) => answer.destroy()],
  ['that is no stream', (_, answer) => answer.end('<html>')],
  ['that ends with nothing', (_, answer) => begin(answer) && answer.end()],
  ['that ends with a refusal', (_, answer) => begin(answer) && answer.end('event: error\ndata: {"code":"token_expired"}\n\n')],
  ['of something else', (_, answer) => begin(answer) && answer.end('id: 1\nevent: state\ndata: {"m":1}\n\n')],
])('instead of a stream %s it is asked for again and again', async (_, stream) => {
  const { states, asked } = await shown(stream)
  expect([states, asked]).toEqual([
    [1, 2, 3],
    ['/thing/events', '/thing', '/thing', '/thing'],
  ])
})
