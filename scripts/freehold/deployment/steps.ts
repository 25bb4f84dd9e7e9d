/**
 * A set-up is a list of steps. Each looks whether it is done before it does anything, so that a run that was interrupted is run again
 * and goes on where it stopped; there is no record of what was done, which could be wrong.
 */
import { Failure } from '../failure.ts'
import { paint, plain, tell } from '../output.ts'

/** `done`: there is nothing to do. `open`: the step can do it. `yours`: only the owner of the account can. */
export type Found = { is: 'done' | 'open' | 'yours'; says: string }

export type Step = {
  name: string
  /** What it does, and why: one sentence or two. */
  does: string
  /** Looks, and changes nothing. Fails with Failure when going on makes no sense. */
  look: () => Promise<Found>
  /** The requests and commands that `run` makes, without secrets. */
  plan: () => string[]
  /** Does it, and says what came of it. */
  run: () => Promise<string>
  /** A refusal skips it, and the set-up goes on without. */
  optional?: true
}

export type Outcome = { step: string; state: 'done' | 'changed' | 'skipped' | 'yours' | 'planned'; says: string }

/** A token or key that is not set: a dry run shows what it can without. */
export class NotSet extends Failure {
  readonly setting: string

  constructor(setting: string, what: string) {
    super(`${setting} is not set: ${what}`)
    this.setting = setting
  }
}

export type Asking = {
  /** Shows everything and changes nothing. */
  dry_run: boolean
  /** Whether to do a step. */
  ask: (step: Step) => Promise<boolean>
}

/** Goes through the steps in order. Fails with Failure at the first that cannot be done, or that is refused and not optional. */
export async function goThrough(steps: Step[], { dry_run, ask }: Asking): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const note = (step: Step, state: Outcome['state'], says: string) => {
    outcomes.push({ step: step.name, state, says })
    const mark = { done: 'ok', changed: 'done', skipped: 'skipped', yours: 'yours', planned: 'would' }[state]
    const style = state === 'done' || state === 'changed' ? 'green' : 'yellow'
    tell(`${paint(process.stderr, style, mark.padEnd(7))} ${step.name}: ${plain(says)}`)
  }
  for (const step of steps) {
    const found = await step.look().catch((error): Found => {
      if (dry_run && error instanceof NotSet) return { is: 'open', says: `not looked at, because ${error.setting} is not set` }
      throw error
    })
    if (found.is !== 'open') {
      note(step, found.is, found.says)
      continue
    }
    if (dry_run) {
      note(step, 'planned', found.says)
      explain(step)
      continue
    }
    tell(`${paint(process.stderr, 'bold', 'next'.padEnd(7))} ${step.name}: ${plain(found.says)}`)
    explain(step)
    if (await ask(step)) note(step, 'changed', await step.run())
    else if (step.optional) note(step, 'skipped', found.says)
    else throw new Failure(`Stopped before "${step.name}". Run the same command again to go on from here.`)
  }
  return outcomes
}

function explain(step: Step): void {
  tell(`        ${step.does}`)
  for (const line of step.plan()) tell(`          ${plain(line)}`)
}
