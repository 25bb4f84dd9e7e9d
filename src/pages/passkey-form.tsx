/**
 * The form by which any page asks a browser for a passkey. The options are in the page and the answer is a field of the form, so that the
 * policy of pages lets no script connect anywhere.
 */
import { z } from '@hono/zod-openapi'
import type { Child } from 'hono/jsx'
import type { Ctx } from '../kernel/context.ts'
import { requestOptions } from '../passkeys/options.ts'
import type { Words } from './words/words.ts'

/** A credential as the script writes it into a field: its JSON. */
export const Credential = <T extends z.ZodType>(schema: T) =>
  z.preprocess((said) => {
    try {
      return typeof said === 'string' ? JSON.parse(said) : said
    } catch {
      return said
    }
  }, schema)

type AskProps = {
  words: Words
  action: string
  verb: 'get' | 'create'
  options: object
  /** The page with new options. */
  again: string
  /** Where the answer goes. */
  field?: string
  /** The browser asks where its user says so, and nowhere else on the page. */
  is_quiet?: boolean
  children?: Child
}

/** A form that the script shows and fills with what the browser gives. */
export const PasskeyForm = ({ words, action, verb, options, again, field = 'credential', is_quiet, children }: AskProps) => (
  <form
    method="post"
    action={action}
    hidden
    data-passkey={verb}
    data-options={JSON.stringify(options)}
    data-again={again}
    data-quiet={is_quiet ? 'yes' : undefined}
  >
    <input type="hidden" name={field} value="" data-credential />
    {children}
    <p class="wrong" role="alert" hidden>
      {words.passkeys.failed}
    </p>
  </form>
)

/**
 * What to ask a browser for: passkeys of this host, and of each former one that is kept (`former`; null: this one). A browser is asked
 * for one host at a time.
 */
export async function passkeyQuestions(ctx: Ctx) {
  const own = await requestOptions(ctx)
  const others = own.former_rp_ids.map(async (former) => ({ former, options: await requestOptions(ctx, former) }))
  return [{ former: null, options: own }, ...(await Promise.all(others))]
}
