/**
 * The longest files of the Worker go first, also in a checkout that has run no test yet: there Vitest knows the sizes of files alone, and
 * the run would end with one process that does a long file while the other has none left.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const LONGEST = [
  'test/tenants/behind.test.ts',
  'test/tenants/doctor-work.test.ts',
  'test/mail/limits.test.ts',
  'test/email-login/email-login.test.ts',
  'test/http/refusal-limits.test.ts',
]

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => LONGEST.findIndex((file) => moduleId.endsWith(`/${file}`))
    const sorted = await super.sort(files)
    const first = sorted.filter((file) => place(file) >= 0).sort((one, other) => place(one) - place(other))
    return [...first, ...sorted.filter((file) => place(file) < 0)]
  }
}
