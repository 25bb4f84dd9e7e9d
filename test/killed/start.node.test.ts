/** A start whose end was not asked for: nothing of it may keep the next one from working. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ask, freePort, ready, start } from '../dev/running.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-killed-start-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a start that was killed', () => {
  it('leaves nothing that the next start cannot clear away', async () => {
    const args = ['--json', '--data', join(folder, 'killed'), '--port', String(await freePort())]
    const first = start(args)
    await ready(first)
    first.child.kill('SIGKILL')
    await first.ended
    const second = start(args)
    const answer = await ask(`${(await ready(second)).url}/readyz`)
    second.child.kill('SIGTERM')
    expect({ status: answer.status, code: (await second.ended).code }).toEqual({ status: 200, code: 0 })
  })
})
