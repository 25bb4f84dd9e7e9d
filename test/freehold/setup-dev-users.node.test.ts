import type { RequestListener } from 'node:http'
import { describe, expect, test } from 'vitest'
import { freehold } from './run.ts'
import { stranger } from './stranger.ts'

const ADA = { FREEHOLD_EMAIL: 'ada@freehold.test', FREEHOLD_PASSWORD: 'Correct-horse-7' }

/** A server that answers for its document only; what it is asked. */
function serverKnownAs(address: string, headers: Record<string, string>) {
  const asked: string[] = []
  const answer: RequestListener = ({ url }, response) => {
    asked.push(String(url))
    response.writeHead(200, headers).end(JSON.stringify({ servers: [{ url: address }] }))
  }
  return { asked, answer }
}

describe('setup-dev-users refuses, before anybody logs in,', () => {
  test('a platform that is not on this machine', async () => {
    for (const url of ['https://freehold.example', 'http://10.0.0.7:8787', 'http://localhost.example']) {
      const { code, stdout, stderr } = await freehold(['setup-dev-users', '--url', url], ADA)
      expect({ code, stdout, stderr }).toEqual({
        code: 1,
        stdout: '',
        stderr: `error: Refused: ${url} is not on this machine, and may be production.\n`,
      })
    }
  })

  test.for<[string, string, Record<string, string>, string]>([
    ['one that runs in production', 'http://localhost:8787', {}, 'runs in production'],
    [
      'a tunnel to one that is known elsewhere',
      'https://freehold.example',
      { 'Server-Timing': 'db' },
      'https://freehold.example',
    ],
  ])('%s', async ([, address, headers, words]) => {
    const { asked, answer } = serverKnownAs(address, headers)
    const { code, stderr } = await stranger(answer, (url) => freehold(['setup-dev-users', '--url', url], ADA))
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(`^error: Refused: .*${words}`) })
    expect(asked).toEqual(['/openapi.json'])
  })
})
