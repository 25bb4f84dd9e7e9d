/** When the bench gives no number. Threat: a number that a busy machine made up, taken for a goal that is met or missed. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { BUSY, type Finding, verdictOf } from '../../scripts/bench/finding.ts'
import { requireProc } from '../../scripts/bench/proc.ts'
import { chart } from '../../scripts/bench/report/chart.ts'
import { json } from '../../scripts/bench/report/json.ts'
import { page } from '../../scripts/bench/report/page.ts'
import { table } from '../../scripts/bench/report/table.ts'
import { spread } from '../../scripts/bench/samples.ts'

const MAIN = fileURLToPath(new URL('../../scripts/bench/main.ts', import.meta.url).href)
const ABOUT = { date: '2026-01-01', commit: null, machine: 'one', versions: {} }
const finding = (title: string, values: number[], goal: number | null): Finding => ({
  title,
  value: spread(values),
  unit: 'ms',
  goal,
  parts: [],
  note: '',
})

/** Middle halves of 2 around 4 (half of it), of 2.2 around 4, and the same without a goal. */
const [CALM, BUSIEST, GOALLESS] = [
  finding('calm', [2, 3, 4, 5, 9], 3.5),
  finding('busy', [2, 2.9, 4, 5.1, 9], 3.5),
  finding('without a goal', [2, 2.9, 4, 5.1, 9], null),
]

describe('a middle half wider than half of the median', () => {
  it('is too busy to tell, and neither met nor missed', () => {
    expect([CALM, BUSIEST, GOALLESS].map(verdictOf)).toEqual(['missed', BUSY, BUSY])
  })

  it('is held against the goal where that is larger: what is near nothing may vary by more than itself', () => {
    expect(verdictOf(finding('small', [0.1, 0.2, 0.3], 1))).toBe('met')
    expect(verdictOf(finding('around nothing', [-0.3, 0, 0.3], 1))).toBe('met')
    expect(verdictOf(finding('around nothing', [-0.3, 0, 0.3], null))).toBe(BUSY)
    expect(verdictOf(finding('far below nothing', [-9, -8, -7], 1))).toBe('met')
  })

  it('that was measured of nothing is not met either', () => {
    expect(verdictOf(finding('no measurement', [Number.NaN], 1))).toBe(BUSY)
  })

  it('has no number in any report', () => {
    const findings = [CALM, BUSIEST, GOALLESS]
    const line = (text: string, name: string) => text.split('\n').find((row) => row.replace('| ', '').startsWith(name)) ?? ''
    for (const name of ['busy', 'without a goal']) {
      for (const text of [table(findings), page(findings, ABOUT)]) {
        expect(line(text, name)).toContain(BUSY)
        expect(line(text, name)).not.toMatch(/4\.00|met|missed/i)
        expect(line(text, 'calm')).toMatch(/4\.00 ms.*missed/i)
      }
    }
    expect(page(findings, ABOUT, { failed: ['login'], left: ['turns', 'memory'] })).toContain(
      'Not measured, because they failed: login. Not measured, because the run ended before: turns, memory.',
    )
    expect(page(findings, ABOUT)).toContain('0 of 2 goals are met. Missed: calm. Too busy to tell: busy.')
    expect(JSON.parse(json(findings, ABOUT)).findings).toMatchObject([
      { title: 'calm', verdict: 'missed', value: { median: 4 } },
      { title: 'busy', verdict: BUSY, value: { median: null, low: 2.9, high: 5.1 } },
      { title: 'without a goal', verdict: BUSY, value: { median: null } },
    ])
    const drawn = chart([BUSIEST])
    expect(drawn).toContain(BUSY)
    expect(drawn).not.toMatch(/4\.00|class="(met|missed|half)"/)
    expect(chart([CALM])).toMatch(/4\.00 ms of 3\.50 ms[\s\S]*class="missed"[\s\S]*class="half"/)
  })
})

describe('a machine without /proc', () => {
  const SENTENCE = 'The bench reads CPU and memory from /proc, which this machine does not have.'
  /** An empty /proc that only the command sees. */
  const without = ['--map-root-user', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$0" "$@"']

  it('is recognised', () => {
    const folder = mkdtempSync(join(tmpdir(), 'freehold-no-proc-'))
    try {
      expect(() => requireProc(folder)).toThrow(SENTENCE)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it.skipIf(!canHide())('is told so, and nothing is measured', async () => {
    const ran = await new Promise<{ code: unknown; stdout: string; stderr: string }>((done) =>
      execFile('unshare', [...without, process.execPath, MAIN], (error, stdout, stderr) =>
        done({ code: error?.code ?? 0, stdout, stderr }),
      ),
    )
    expect(ran).toEqual({ code: 1, stdout: '', stderr: `${SENTENCE}\n` })
  })

  /** Whether this user may give a command its own view of the machine. */
  function canHide(): boolean {
    try {
      execFileSync('unshare', [...without, 'true'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  }
})
