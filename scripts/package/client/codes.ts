/** The codes of problems, as the service lists them. In the package this file is a list of its own (../main.ts). */
export type { Code } from '../../../src/kernel/problem.ts'
