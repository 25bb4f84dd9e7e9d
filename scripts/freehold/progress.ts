import { clearScreenDown, cursorTo, moveCursor } from 'node:readline'
import type { WriteStream } from 'node:tty'
import type { Step } from './answers.ts'
import { paint, plain, type Style } from './output.ts'

type Screen = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'rows' | 'columns' | 'hasColors'>>

const STYLES: Record<Step['state'], Style> = { pending: 'dim', running: 'yellow', done: 'green', failed: 'red' }

/**
 * Shows how far a tenant is, each time it is given the steps: on a terminal a list that is drawn again in its place, else one line for each
 * step that has finished.
 */
export function progressOn(screen: Screen): (steps: Step[]) => void {
  const since = new Map<string, number>()
  const told = new Set<string>()
  let drawn = 0

  const line = (step: Step) => {
    const tries = step.attempts > 1 && step.state !== 'pending' ? `  try ${step.attempts}` : ''
    const why = step.state === 'running' && step.error ? `: ${plain(step.error)}` : ''
    const text = `  ${step.state.padEnd(8)} ${step.name.padEnd(14)} ${seconds(step, since)}${tries}${why}`.trimEnd()
    return text.slice(0, screen.isTTY ? (screen.columns ?? 80) - 1 : undefined)
  }

  return (steps) => {
    for (const { name, state } of steps) if (state === 'running' && !since.has(name)) since.set(name, Date.now())
    // A list that is longer than the terminal is high could not be drawn again in its place.
    const live = screen.isTTY && (screen.rows ?? 0) > steps.length
    if (live) {
      if (drawn) redraw(screen as WriteStream, drawn)
      screen.write(steps.map((step) => `${paint(screen, STYLES[step.state], line(step))}\n`).join(''))
      drawn = steps.length
      return
    }
    for (const step of steps) {
      if (told.has(step.name) || (step.state !== 'done' && step.state !== 'failed')) continue
      told.add(step.name)
      screen.write(`${line(step)}\n`)
    }
  }
}

/** How long a step took, by the server's clock; one that runs, since it was first seen, by ours: the two may differ. */
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
