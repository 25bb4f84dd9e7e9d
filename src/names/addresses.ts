/**
 * E-mail addresses and their domains, for every field that takes one. Threat: two fields that disagree, so that an address is taken
 * by one and can never be used in the other; and an address that no mail server accepts.
 */
import { z } from '@hono/zod-openapi'
import { written } from '../kernel/fields.ts'

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
/** A name in the DNS with at least two labels. The last one is no number: that would be an IP address. */
const DOMAIN = `(?=.{1,253}$)(?:${LABEL}\\.)+(?![0-9]+$)${LABEL}`
/** The characters of an atom (RFC 5321, section 4.1.2). */
const ATOM = "[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
/** A local part of atoms with dots between them: one in quotes is not taken. */
const ADDRESS = new RegExp(`^(?=.{1,64}@)${ATOM}(?:\\.${ATOM})*@${DOMAIN}$`)

const isAscii = (text: string) => /^\p{ASCII}*$/u.test(text)

/** What is wrong with the form of an address, or null. Names of domains are sent in ASCII, as they stand in the DNS. */
function fault(address: string): string | null {
  const at = address.lastIndexOf('@')
  if (at > 0 && !isAscii(address.slice(at))) return 'must have its domain in ASCII: send the punycode form (xn--...)'
  if (at > 0 && !isAscii(address)) return 'must have only ASCII characters before the @'
  return ADDRESS.test(address) ? null : 'must be an e-mail address'
}

/** Normalised for storage and for the comparison at login: NFKC, trimmed, lower case. */
export const Email = written(255)
  .normalize('NFKC')
  .trim()
  .toLowerCase()
  .max(255, { abort: true })
  .superRefine((address, check) => {
    const message = fault(address)
    if (message) check.addIssue({ code: 'custom', message })
  })
  .openapi({ format: 'email' })

/** The domain of an e-mail address, in the form in which addresses have it. */
export const Domain = z
  .string()
  .trim()
  .toLowerCase()
  .max(253)
  .superRefine((domain, check) => {
    if (!isAscii(domain)) check.addIssue({ code: 'custom', message: 'must be in ASCII: send the punycode form (xn--...)' })
    else if (!new RegExp(`^${DOMAIN}$`).test(domain))
      check.addIssue({ code: 'custom', message: 'must be a domain name, such as example.com' })
  })
