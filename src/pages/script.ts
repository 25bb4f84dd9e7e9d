/**
 * The script of the pages; each of them works without it, but for passkeys, which no page can ask for otherwise. It keeps a form from being sent twice, shows passwords and which of their
 * rules are met, moves the token of a mailed link out of the address, and tells times as the browser's clock does.
 */
export const script = `'use strict'
const all = (selector, from = document) => [...from.querySelectorAll(selector)]

for (const form of document.forms) form.addEventListener('submit', (event) => {
  if (form.dataset.sent) return event.preventDefault()
  form.dataset.sent = 'yes'
  const button = event.submitter ?? form.querySelector('button:not([type=button])')
  button.dataset.idle = button.textContent
  button.setAttribute('aria-busy', 'true')
  button.setAttribute('aria-disabled', 'true')
  button.textContent = button.dataset.busy || button.textContent
})
for (const button of all('.secret button')) {
  const input = button.parentElement.querySelector('input')
  button.hidden = false
  button.addEventListener('click', () => {
    const isShown = input.type === 'password'
    input.type = isShown ? 'text' : 'password'
    button.textContent = isShown ? button.dataset.hide : button.dataset.show
    input.focus()
  })
  input.form.addEventListener('submit', () => { input.type = 'password' })
}

const idle = (form) => {
  delete form.dataset.sent
  for (const button of all('[aria-busy]', form)) {
    button.removeAttribute('aria-busy')
    button.removeAttribute('aria-disabled')
    button.textContent = button.dataset.idle
  }
}
// Back from the next page, which the browser kept this one for.
addEventListener('pageshow', ({ persisted }) => { if (persisted) for (const form of document.forms) idle(form) })

const Passkey = window.PublicKeyCredential
let waiting
for (const form of Passkey?.parseRequestOptionsFromJSON ? all('form[data-passkey]') : []) {
  const { passkey: verb, options, again, quiet } = form.dataset
  const ask = async (more) => {
    waiting?.abort()
    waiting = new AbortController()
    const parse = verb === 'get' ? 'parseRequestOptionsFromJSON' : 'parseCreationOptionsFromJSON'
    const publicKey = Passkey[parse](JSON.parse(options))
    const made = await navigator.credentials[verb]({ publicKey, signal: waiting.signal, ...more })
    form.querySelector('[data-credential]').value = JSON.stringify(made)
    // What was typed in the form beside it.
    for (const copy of all('[data-copy]', form)) copy.value = document.getElementById(copy.dataset.copy)?.value ?? copy.value
    form.submit()
  }
  form.hidden = false
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    form.querySelector('.wrong').hidden = true
    ask({}).catch(() => {
      idle(form)
      form.querySelector('.wrong').hidden = false
    })
  })
  if (verb === 'get' && !quiet)
    Passkey.isConditionalMediationAvailable?.().then((isOffered) => isOffered && ask({ mediation: 'conditional' })).catch(() => {})
  // Before its challenge expires, unless somebody is typing.
  setTimeout(() => { if (all('input:not([type=hidden])').every(({ value }) => value === '')) location.replace(again) }, 270_000)
}

const KEPT = {
  min: (text, n) => [...text].length >= n,
  max: (text, n) => text !== '' && [...text].length <= n,
  upper: (text) => /\\p{Lu}/u.test(text),
  lower: (text) => /\\p{Ll}/u.test(text),
  digit: (text) => /\\p{Nd}/u.test(text),
  special: (text) => /[^\\p{L}\\p{N}]/u.test(text),
  unique: (text, n) => new Set(text).size >= n,
}
for (const list of all('.rules')) {
  const input = document.getElementById(list.dataset.of)
  const rules = all('[data-rule]', list)
  const check = () => {
    for (const rule of rules) {
      const isMet = KEPT[rule.dataset.rule](input.value.normalize('NFC'), Number(rule.dataset.n))
      rule.classList.toggle('met', isMet)
      rule.querySelector('.off').textContent = isMet ? list.dataset.met : ''
    }
  }
  input.addEventListener('input', check)
  check()
}

const said = new URLSearchParams(location.hash.slice(1)).get('token')
for (const input of all('[data-token]')) {
  if (said) {
    input.value = said
    // Neither the history nor who copies the address has it.
    history.replaceState(null, '', location.pathname + location.search)
    for (const other of all('[data-without-token]')) other.hidden = true
  }
  if (input.value && !input.hasAttribute('aria-invalid')) input.closest('.field').hidden = true
}

for (const time of all('time[datetime]'))
  time.textContent = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' })
    .format(new Date(time.dateTime))
document.querySelector('[role=alert]')?.focus()
`
