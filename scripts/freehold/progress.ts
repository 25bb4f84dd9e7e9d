import { clearScreenDown, cursorTo, moveCursor } from 'node:readline'
import type { WriteStream } from 'node:tty'
import type { Step } from './answers.ts'
import { paint, plain, type Style } from './output.ts'

type Screen = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'rows' | 'columns' | 'hasColors'>>

const STYLES: Record<Step['state'], Style> = { pending: 'dim', running: 'yellow', done: 'green', failed: 'red' }

/**
 * Shows the provisioning steps of a tenant each time it is called with them: on a terminal as a list that is redrawn in place,
 * otherwise one line for each step that has finished.
 */
export function progressOn(screen: Screen): (steps: Step[]) => void {
  const since = new Map<string, number>()
  const printed = new Set<string>()
  let drawn = 0

  const line = (step: Step) => {
    const tries = step.attempts > 1 && step.state !== 'pending' ? `  try ${step.attempts}` : ''
    const why = step.state === 'running' && step.error ? `: ${plain(step.error)}` : ''
    const text = `  ${step.state.padEnd(8)} ${plain(step.name).padEnd(14)} ${seconds(step, since)}${tries}${why}`.trimEnd()
    return text.slice(0, screen.isTTY ? (screen.columns ?? 80) - 1 : undefined)
  }

  return (steps) => {
    for (const { name, state } of steps) if (state === 'running' && !since.has(name)) since.set(name, Date.now())
    // A list longer than the terminal's height cannot be redrawn in place.
    const live = screen.isTTY && (screen.rows ?? 0) > steps.length
    if (live) {
      if (drawn) redraw(screen as WriteStream, drawn)
      screen.write(steps.map((step) => `${paint(screen, STYLES[step.state], line(step))}\n`).join(''))
      drawn = steps.length
      return
    }
    for (const step of steps) {
      if (printed.has(step.name) || (step.state !== 'done' && step.state !== 'failed')) continue
      printed.add(step.name)
      screen.write(`${line(step)}\n`)
    }
  }
}

/**
 * How long a step took, by the server's clock. For a running step: the time since it was first seen, by the local clock, which
 * may differ.
 */
function seconds({ name, started_at, finished_at }: Step, since: Map<string, number>): string {
  const first = since.get(name)
  const ms = finished_at && started_at ? Date.parse(finished_at) - Date.parse(started_at) : first && Date.now() - first
  return ms === undefined ? '' : `${(ms / 1000).toFixed(1)} s`
}

function redraw(screen: WriteStream, lines: number) {
  moveCursor(screen, 0, -lines)
  cursorTo(screen, 0)
  clearScreenDown(screen)
}
