import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, Asked } from './answer.ts'
import type { Fault } from './fault.ts'

export interface Faults {
  set(faults: Fault[]): void
  /** The faults that are not used up. */
  list(): Fault[]
  around(asked: Asked, handler: (asked: Asked) => Promise<Answer>): Promise<Answer>
}

const LOST: Answer = { status: 0 }
const OWN_PATH = '/faults'

/** Holds the active faults. */
export function openFaults(initial: Fault[] = []): Faults {
  let open = initial.map((fault) => ({ ...fault }))

  function next(asked: Asked, ofRoles: boolean) {
    const fault = open.find(
      ({ match, times, kind }) =>
        times > 0 &&
        ROLE_KINDS.includes(kind) === ofRoles &&
        (match.method ?? asked.method) === asked.method &&
        new RegExp(match.path).test(asked.path) &&
        new RegExp(match.connection ?? '').test(String(asked.headers['neon-connection-string'] ?? '')),
    )
    if (fault) fault.times -= 1
    return fault
  }

  return {
    set(faults) {
      open = faults.map((fault) => ({ ...fault }))
    },
    list: () => open.filter(({ times }) => times > 0),
    async around(asked, handler) {
      const fault = asked.path === OWN_PATH ? undefined : next(asked, false)
      const roleFault = () => next(asked, true)
      switch (fault?.kind) {
        case 'status':
          return { status: fault.status ?? 500, headers: fault.headers ?? {}, body: fault.body ?? '' }
        case 'drop_before':
          return LOST
        case 'drop_after': {
          const { after } = await handler({ ...asked, roleFault })
          return after ? { ...LOST, after } : LOST
        }
        case 'delay':
          await sleep(fault.ms ?? 0)
          return handler({ ...asked, roleFault })
        case 'delay_after': {
          const answer = await handler({ ...asked, roleFault })
          await sleep(fault.ms ?? 0)
          return answer
        }
        case 'fail_operation':
          return handler({ ...asked, fails: fault.action === undefined ? {} : { action: fault.action } })
        default:
          return handler({ ...asked, roleFault })
      }
    },
  }
}

/** `GET /faults` returns the active faults, `PUT /faults` replaces them. */
export async function answerFaults(asked: Asked, faults: Faults): Promise<Answer> {
  const headers = { 'content-type': 'application/json' }
  if (asked.method === 'PUT') {
    const wanted = readFaults(await asked.body(MAX_BYTES))
    if (!wanted) return { status: 400, headers, body: JSON.stringify({ message: 'a list of faults is needed', code: '' }) }
    faults.set(wanted)
  }
  return { status: 200, headers, body: JSON.stringify(faults.list()) }
}

const MAX_BYTES = 1_048_576
const ROLE_KINDS = ['refuse_roles', 'bring_back_roles']
const KINDS = ['status', 'drop_before', 'drop_after', 'delay', 'delay_after', 'fail_operation', ...ROLE_KINDS]

function readFaults(text: string): Fault[] | undefined {
  try {
    const list: Fault[] = JSON.parse(text)
    return Array.isArray(list) && list.every(isFault) ? list : undefined
  } catch {
    return undefined
  }
}

/** Throws when the path, or the connection, is no regular expression. */
const isFault = ({ match, times, kind }: Fault) =>
  KINDS.includes(kind) && times >= 0 && new RegExp(match.path).source !== '' && new RegExp(match.connection ?? '') !== null
