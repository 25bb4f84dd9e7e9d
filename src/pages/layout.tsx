/** What every page is made of. */
import type { Child } from 'hono/jsx'
import { VERSION } from '../http/version.ts'
import type { Policy } from '../passwords/policy.ts'
import { DEFAULT_ACCENT } from '../settings/contrast.ts'
import type { Look } from './look.ts'
import type { Words } from './words/words.ts'

/** What was wrong with a form: in general, and at fields. */
export type Faults = { general: string[]; at: Record<string, string[]> }
export const NO_FAULTS: Faults = { general: [], at: {} }

export type Face = { words: Words; language: string; look: Look }

type DocumentProps = Face & {
  title: string
  wide?: boolean
  is_wrong?: boolean
  /** Where the page goes on by itself at once, without script. */
  refresh?: string | undefined
  /** What stands beside the name, at the top. */
  aside?: Child
  children?: Child
}

export const Document = ({ words, language, look, title, wide, is_wrong, refresh, aside, children }: DocumentProps) => (
  <html lang={language}>
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="robots" content="noindex" />
      {refresh && <meta http-equiv="refresh" content={`0;url=${refresh}`} />}
      <title>{`${is_wrong ? words.error_title : ''}${title} · ${look.name}`}</title>
      <link rel="stylesheet" href={`/pages/style.css?v=${VERSION}&accent=${(look.colour ?? DEFAULT_ACCENT).slice(1)}`} />
      <script src={`/pages/page.js?v=${VERSION}`} defer />
    </head>
    <body class={wide ? 'wide' : undefined}>
      <header class="top">
        <span class="mark" aria-hidden="true">
          {look.logo ? <img src={look.logo} alt="" /> : initialOf(look.name)}
        </span>
        <span class="name">{look.name}</span>
        {aside}
      </header>
      <main>{children}</main>
    </body>
  </html>
)

const initialOf = (name: string) => (/[\p{L}\p{N}]/u.exec(name)?.[0] ?? '·').toUpperCase()

/** What was wrong with a form as a whole, read aloud. What is wrong with a field stands at the field, and nowhere else. */
export const Summary = ({ words, faults }: { words: Words; faults: Faults }) => {
  if (!faults.general.length) return null
  return (
    <div class="alert" role="alert" tabindex={-1} autofocus>
      <strong>{words.summary}</strong>
      <ul>
        {faults.general.map((said) => (
          <li>{said}</li>
        ))}
      </ul>
    </div>
  )
}

type FieldProps = {
  name: string
  label: string
  faults: Faults
  hint?: string
  /** Stands at the end of the label's line. */
  above?: Child
  children?: Child
} & Record<string, unknown>

const describedBy = (name: string, hint: unknown, faults: Faults, more: string[] = []) =>
  [...(hint ? [`${name}-hint`] : []), ...more, ...(faults.at[name] ? [`${name}-wrong`] : [])].join(' ') || undefined

/** The first field with an error has the focus, with which its error is read aloud; one of the form as a whole comes before it. */
export const stateOf = (name: string, faults: Faults) =>
  faults.at[name]
    ? {
        'aria-invalid': 'true' as const,
        autofocus: !faults.general.length && Object.keys(faults.at)[0] === name,
      }
    : {}

const Wrong = ({ name, faults }: { name: string; faults: Faults }) =>
  faults.at[name] ? (
    <div id={`${name}-wrong`}>
      {faults.at[name].map((said) => (
        <p class="wrong">{said}</p>
      ))}
    </div>
  ) : null

/** A field with its label, its hint and its errors. */
export const Field = ({ name, label, faults, hint, above, children, ...input }: FieldProps) => (
  <div class="field">
    <div class="above">
      <label for={name}>{label}</label>
      {above}
    </div>
    {children ?? (
      <input id={name} name={name} aria-describedby={describedBy(name, hint, faults)} {...stateOf(name, faults)} {...input} />
    )}
    {hint && (
      <p class="hint" id={`${name}-hint`}>
        {hint}
      </p>
    )}
    <Wrong name={name} faults={faults} />
  </div>
)

type PasswordProps = {
  words: Words
  name: string
  label: string
  faults: Faults
  policy?: Policy
  above?: Child
  is_optional?: boolean
}

/** A password with a button that shows it; a new one with the rules of the tenant. */
export const PasswordField = ({ words, name, label, faults, policy, above, is_optional }: PasswordProps) => (
  <div class="field">
    <div class="above">
      <label for={name}>{label}</label>
      {above}
    </div>
    <div class="secret">
      <input
        id={name}
        name={name}
        type="password"
        autocomplete={policy ? 'new-password' : 'current-password'}
        required={!is_optional}
        maxlength={1024}
        autocapitalize="none"
        spellcheck={false}
        aria-describedby={describedBy(name, null, faults, policy ? [`${name}-rules`] : [])}
        {...stateOf(name, faults)}
      />
      <button type="button" hidden aria-controls={name} data-show={words.show} data-hide={words.hide}>
        {words.show}
      </button>
    </div>
    {policy && <Rules words={words} of={name} policy={policy} />}
    <Wrong name={name} faults={faults} />
  </div>
)

const fill = (text: string, n: number) => text.replace('{n}', () => String(n))

/** The rules of passwords; the script marks those that it can check itself. */
const Rules = ({ words, of, policy }: { words: Words; of: string; policy: Policy }) => {
  const { rules } = words
  const checked: [string, string, number | undefined, boolean][] = [
    ['min', fill(rules.min, policy.password_min_length), policy.password_min_length, true],
    ['max', fill(rules.max, policy.password_max_length), policy.password_max_length, policy.password_max_length < 64],
    ['upper', rules.upper, undefined, policy.password_upper],
    ['lower', rules.lower, undefined, policy.password_lower],
    ['digit', rules.digit, undefined, policy.password_digit],
    ['special', rules.special, undefined, policy.password_special],
    ['unique', fill(rules.unique, policy.password_unique), policy.password_unique, policy.password_unique > 1],
  ]
  const told: [string, boolean][] = [
    [rules.personal, policy.password_personal],
    [rules.common, policy.password_common],
    [rules.breached, policy.password_breached],
    [fill(rules.history, policy.password_history), policy.password_history > 0],
  ]
  return (
    <ul class="rules" id={`${of}-rules`} data-of={of} data-met={rules.met}>
      {checked
        .filter(([, , , holds]) => holds)
        .map(([rule, text, n]) => (
          <li data-rule={rule} data-n={n}>
            <span>
              {text}
              <span class="off" />
            </span>
          </li>
        ))}
      {told
        .filter(([, holds]) => holds)
        .map(([text]) => (
          <li>
            <span>{text}</span>
          </li>
        ))}
    </ul>
  )
}

type SubmitProps = { words: Words; class?: string | undefined; children?: Child } & Record<string, unknown>

/** A button that says that it works. */
export const Submit = ({ words, children, ...button }: SubmitProps) => (
  <button type="submit" data-busy={words.working} {...button}>
    {children}
  </button>
)

/** What was done before, at the top of a page. */
export const Note = ({ said }: { said: string | null }) =>
  said ? (
    <p class="note" role="status">
      {said}
    </p>
  ) : null

/** A moment; the script tells it in the browser's own time. */
export const Moment = ({ at, language }: { at: string; language: string }) => (
  <time datetime={at}>
    {`${new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' }).format(new Date(at))} UTC`}
  </time>
)
