import type { Work } from './operations.ts'

/** Work whose operations of one action, or the first of each chain, fail without any effect. */
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
