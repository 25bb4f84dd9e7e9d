import type { Work } from './operations.ts'

/** Work whose operations of an action, or the first of each chain, fail when they are carried out: nothing of them is done. */
export const failing = (work: Work, action?: string): Work => ({
  ...work,
  start: (projectId, steps) =>
    work.start(
      projectId,
      steps.map((step, place) => {
        const fails = action === undefined ? place === 0 : step.action === action
        return fails ? { ...step, effects: [{ do: 'fail' }] } : step
      }),
    ),
})
