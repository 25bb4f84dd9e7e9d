/** What the bench counts. Threat: a backend that ended, or an object that several hold, counts for nothing, or twice. */
import { spawn } from 'node:child_process'
import { expect, it } from 'vitest'
import { holders } from '../../scripts/bench/holders.ts'
import { childrenOf, cpuMs, familyCpuMs } from '../../scripts/bench/proc.ts'

const BURNT_MS = 300
const BURN = `const spent = ({ user, system }) => user + system; while (spent(process.cpuUsage()) < ${BURNT_MS * 1000}); console.log('burnt')`

/** A shell that starts a program which spends CPU and ends, and then one that spends as much and stays. */
const family = () => spawn('sh', ['-c', '"$0" -e "$1"; "$0" -e "$1; setInterval(() => {}, 1000)" & wait', process.execPath, BURN])

it('the CPU of a process includes that of its children, of those that ended and of those that run', async () => {
  const shell = family()
  const pid = shell.pid ?? 0
  try {
    let burnt = 0
    for await (const chunk of shell.stdout) {
      burnt += String(chunk).split('burnt').length - 1
      if (burnt === 2) break
    }
    expect(await childrenOf(pid)).toHaveLength(1)
    expect(await cpuMs(pid)).toBeLessThan(BURNT_MS)
    const ms = await familyCpuMs(pid)
    expect(ms).toBeGreaterThan(1.5 * BURNT_MS)
    expect(ms).toBeLessThan(3 * BURNT_MS)
  } finally {
    for (const child of await childrenOf(pid)) process.kill(child)
    shell.kill()
  }
})

/** A snapshot of objects `[type, name, size, references]`, each reference with its type, a name and a target. */
function snapshotOf(objects: [string, string, number, [string, string, number][]][]): string {
  const [node_types, edge_types] = [
    ['synthetic', 'object', 'string', 'code', 'closure'],
    ['context', 'property', 'weak', 'internal'],
  ]
  const strings: string[] = []
  const text = (value: string) => strings.push(value) - 1
  const nodes = objects.flatMap(([type, name, size, to]) => [node_types.indexOf(type), text(name), size, to.length])
  const edges = objects.flatMap(([, , , to]) =>
    to.flatMap(([type, name, node]) => [edge_types.indexOf(type), text(name), node * 4]),
  )
  const meta = {
    node_fields: ['type', 'name', 'self_size', 'edge_count'],
    node_types: [node_types],
    edge_fields: ['type', 'name_or_index', 'to_node'],
    edge_types: [edge_types],
  }
  return JSON.stringify({ snapshot: { meta }, nodes, edges, strings })
}

it('an object is held by the variable without which it would be free, and by none where several hold it', () => {
  const MB = 2 ** 20
  const snapshot = snapshotOf([
    ['synthetic', '', 0, [['internal', '', 1]]],
    ['synthetic', '(GC roots)', 0, [2, 3, 9].map((node) => ['internal', '', node])],
    [
      'object',
      'system / Context / scope @1',
      0,
      [
        ['context', 'memory', 4],
        ['context', 'clients', 5],
        ['internal', '', 4],
      ],
    ],
    ['code', 'system / Script / entry.js', 9 * MB, []],
    [
      'object',
      'Map',
      MB,
      [
        ['property', 'a', 6],
        ['property', 'shared', 7],
      ],
    ],
    [
      'object',
      'Map',
      MB,
      [
        ['property', 'shared', 7],
        ['weak', 'b', 8],
      ],
    ],
    ['string', 'held by memory', 4 * MB, [['property', 'back', 4]]],
    ['string', 'held by both', 3 * MB, []],
    ['string', 'held by nobody', 90 * MB, []],
    ['closure', '', MB / 2, []],
  ])
  const modules = new Map([['memory', 'src/tenants/registry/registry.ts']])
  expect(holders(snapshot, 9, modules)).toEqual([
    { where: 'the source of the bundle', mb: 9 },
    { where: 'src/tenants/registry/registry.ts: memory', mb: 5 },
    { where: 'what several modules share', mb: 3 },
    { where: 'the bundle: clients', mb: 1 },
    { where: 'V8 and workerd', mb: 0.5 },
  ])
  expect(holders(snapshot, 2, modules)).toHaveLength(2)
})
