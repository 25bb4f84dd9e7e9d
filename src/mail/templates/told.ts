/** What notifications say, in both languages. Values are `{named}`; `{tenant}` is known everywhere. */
import { knownDeviceName } from '../../sessions/device.ts'
import { reasonsIn } from './risk.ts'

const EN = {
  new_device: [
    'A login from a new device',
    'Somebody logged in to your account with {device}. If that was not you, end the session and change your password.',
  ],
  account_locked: [
    'Too many wrong passwords',
    'Somebody tried wrong passwords on your account until logins from there were locked, until {until}.',
  ],
  device_locked: [
    'Too many wrong passwords on your device',
    'Wrong passwords were tried on a device of yours until logins from it were locked, until {until}.',
  ],
  api_key_created: ['A new API key', 'The API key {key_name} (fh_{prefix}) was created for your account.'],
  identity_added: ['A new way to log in', 'Your account can be logged in to with {provider} as well.'],
  identity_removed: [
    'A way to log in was removed',
    'Your account can no longer be logged in to with this identity of {provider}.',
  ],
  passkey_added: ['A new passkey', 'The passkey {passkey_name} was added to your account.'],
  passkey_copied: [
    'A passkey may have been copied',
    'A login with the passkey {passkey_name} was refused: there may be two of it. Remove it.',
  ],
  passkey_removed: ['A passkey was removed', 'The passkey {passkey_name} was removed from your account.'],
  mfa_enabled: ['Your login needs a code', 'An authenticator app was set up for your account.'],
  mfa_disabled: ['Your login needs no code any more', 'The authenticator app of your account was switched off.'],
  mfa_reset: ['Your second factor was removed', 'An administrator removed the second factor of your account.'],
  password_changed: [
    'Your password was changed',
    'The password of your account was changed, and you were logged out everywhere else.',
  ],
  password_expires: [
    'Your password expires soon',
    'The password of your account expires on {expires_at}. Change it before then.',
  ],
  email_changed: ['Your address was changed', 'The e-mail address of your account was changed.'],
  impersonated: ['Somebody acts as you', 'An administrator may act as you until {until}. What they do is recorded.'],
  suspicious_activity: [
    'Something unusual about your account',
    'A login to your account was unusual: {reasons}. If that was not you, change your password.',
  ],
  login_refused: [
    'A login to your account was refused',
    'A login to your account, or its renewal, was refused because it was unusual: {reasons}. The password, passkey, code or token was right. If that was you, try again from a device or place that you used before. If not, change your password and check your passkeys.',
  ],
  competency_expires: ['A competency expires soon', '{competency} expires on {expires_at}.'],
  competency_expired: ['A competency has expired', '{competency} expired on {expires_at}.'],
  invitation_accepted: ['An invitation was accepted', '{person} accepted your invitation.'],
  delegation_requested: ['A delegation waits for a decision', '{person} asks to delegate from {starts_at} to {ends_at}.'],
  delegation_received: ['Something was delegated to you', '{person} delegates to you from {starts_at} to {ends_at}.'],
  delegation_approved: [
    'Your delegation was approved',
    'Your delegation to {person} from {starts_at} to {ends_at} was approved.',
  ],
  delegation_rejected: [
    'Your delegation was rejected',
    'Your delegation to {person} from {starts_at} to {ends_at} was rejected.',
  ],
  delegation_revoked: ['A delegation to you was revoked', 'What {person} delegated to you is not yours any more.'],
  delegation_taken_back: ['Your delegation was revoked', 'An administrator revoked your delegation to {person}.'],
  webhook_paused: [
    'A webhook was paused',
    'No events are sent to {host} any more: it accepted none for three days, or said that it is gone. What happens meanwhile is sent once the webhook goes on.',
  ],
  license_ends: [
    'The license ends soon',
    'The license ends on {expires_at}. Without a new one, nothing can be changed from {read_only_from} on.',
  ],
} as const satisfies Record<string, readonly [string, string]>

export type ToldEvent = keyof typeof EN

const ES: Record<ToldEvent, readonly [string, string]> = {
  new_device: [
    'Un acceso desde un dispositivo nuevo',
    'Alguien entró en tu cuenta con {device}. Si no fuiste tú, termina la sesión y cambia tu contraseña.',
  ],
  account_locked: [
    'Demasiadas contraseñas incorrectas',
    'Alguien probó contraseñas incorrectas en tu cuenta hasta que se bloqueó el acceso desde allí, hasta el {until}.',
  ],
  device_locked: [
    'Demasiadas contraseñas incorrectas en tu dispositivo',
    'Se probaron contraseñas incorrectas en un dispositivo tuyo hasta que se bloqueó el acceso desde él, hasta el {until}.',
  ],
  api_key_created: ['Una clave de API nueva', 'Se creó la clave de API {key_name} (fh_{prefix}) para tu cuenta.'],
  identity_added: ['Una forma nueva de entrar', 'Ahora también se puede entrar en tu cuenta con {provider}.'],
  identity_removed: ['Se quitó una forma de entrar', 'Ya no se puede entrar en tu cuenta con esta identidad de {provider}.'],
  passkey_added: ['Una llave de acceso nueva', 'Se añadió la llave de acceso {passkey_name} a tu cuenta.'],
  passkey_copied: [
    'Puede que se haya copiado una llave de acceso',
    'Se rechazó un acceso con la llave {passkey_name}: puede que haya dos. Quítala.',
  ],
  passkey_removed: ['Se quitó una llave de acceso', 'Se quitó la llave de acceso {passkey_name} de tu cuenta.'],
  mfa_enabled: ['Tu acceso necesita un código', 'Se configuró una aplicación de autenticación para tu cuenta.'],
  mfa_disabled: ['Tu acceso ya no necesita un código', 'Se desactivó la aplicación de autenticación de tu cuenta.'],
  mfa_reset: ['Se quitó tu segundo factor', 'Un administrador quitó el segundo factor de tu cuenta.'],
  password_changed: ['Se cambió tu contraseña', 'Se cambió la contraseña de tu cuenta, y se cerraron tus demás sesiones.'],
  password_expires: ['Tu contraseña caduca pronto', 'La contraseña de tu cuenta caduca el {expires_at}. Cámbiala antes.'],
  email_changed: ['Se cambió tu dirección', 'Se cambió la dirección de correo de tu cuenta.'],
  impersonated: [
    'Alguien actúa como tú',
    'Un administrador puede actuar como tú hasta el {until}. Lo que haga queda registrado.',
  ],
  suspicious_activity: [
    'Algo inusual en tu cuenta',
    'Un acceso a tu cuenta fue inusual: {reasons}. Si no fuiste tú, cambia tu contraseña.',
  ],
  login_refused: [
    'Se rechazó un acceso a tu cuenta',
    'Se rechazó un acceso a tu cuenta, o su renovación, porque era inusual: {reasons}. La contraseña, la llave de acceso, el código o el token eran correctos. Si fuiste tú, inténtalo desde un dispositivo o lugar que ya hayas usado. Si no, cambia tu contraseña y revisa tus llaves de acceso.',
  ],
  competency_expires: ['Una competencia caduca pronto', '{competency} caduca el {expires_at}.'],
  competency_expired: ['Una competencia ha caducado', '{competency} caducó el {expires_at}.'],
  invitation_accepted: ['Se aceptó una invitación', '{person} aceptó tu invitación.'],
  delegation_requested: ['Una delegación espera una decisión', '{person} pide delegar desde el {starts_at} hasta el {ends_at}.'],
  delegation_received: ['Te han delegado algo', '{person} te delega desde el {starts_at} hasta el {ends_at}.'],
  delegation_approved: ['Se aprobó tu delegación', 'Se aprobó tu delegación a {person} desde el {starts_at} hasta el {ends_at}.'],
  delegation_rejected: [
    'Se rechazó tu delegación',
    'Se rechazó tu delegación a {person} desde el {starts_at} hasta el {ends_at}.',
  ],
  delegation_revoked: ['Se revocó una delegación', 'Lo que {person} te delegó ya no es tuyo.'],
  delegation_taken_back: ['Se revocó tu delegación', 'Un administrador revocó tu delegación a {person}.'],
  webhook_paused: [
    'Se pausó un webhook',
    'Ya no se envían eventos a {host}: no aceptó ninguno en tres días, o dijo que ya no existe. Lo que ocurra entretanto se envía cuando el webhook siga.',
  ],
  license_ends: [
    'La licencia termina pronto',
    'La licencia termina el {expires_at}. Sin otra, no se podrá cambiar nada desde el {read_only_from}.',
  ],
}

const TOLD = { en: EN, es: ES }
export const EVENTS = Object.keys(EN) as ToldEvent[]

/** Values that are moments, beside what mails call so. */
export const TOLD_MOMENTS = ['starts_at', 'ends_at']

/** Said of a person who is not there any more, and of what a program left out. */
const UNKNOWN = {
  en: { person: 'Somebody', device: 'an unknown device' },
  es: { person: 'Alguien', device: 'un dispositivo desconocido' },
}

/** What is said of an event, with its placeholders; null: this release knows no such event. */
export function toldOf(
  language: 'en' | 'es',
  event: string,
): { title: string; text: string; unknown: Record<string, string> } | null {
  if (!Object.hasOwn(EN, event)) return null
  const [title, text] = TOLD[language][event as ToldEvent]
  return { title, text, unknown: UNKNOWN[language] }
}

/** The values of a text, as it has them: a device by its name, because whoever logged in wrote its user agent. */
export function toldValues(params: Record<string, unknown>): Record<string, string> {
  const device = knownDeviceName(typeof params.device === 'string' ? params.device : null)
  const values = { ...params, device }
  return Object.fromEntries(Object.entries(values).flatMap(([key, value]) => (value === null ? [] : [[key, String(value)]])))
}

const DIGEST = {
  en: { one: '{tenant}: {title}', many: '{tenant}: {count} notifications' },
  es: { one: '{tenant}: {title}', many: '{tenant}: {count} notificaciones' },
}
const LIST = {
  en: 'All of them, and what you are told by mail: {url}/account/notifications',
  es: 'Todas, y lo que recibes por correo: {url}/account/notifications',
}

/** A value in words, where it is a list of names; any other stays as it is. */
export const wordOf = (language: 'en' | 'es', key: string, value: unknown): string =>
  key === 'reasons' ? reasonsIn(language, String(value)) : String(value)

/** The mail of some notifications, as a template and its values: each in a paragraph, its values under names of their own. */
export function digestOf(language: 'en' | 'es', told: { event: string; params: Record<string, unknown> }[]) {
  const known = told.flatMap(({ event, params }) => {
    const said = toldOf(language, event)
    return said ? [{ ...said, params: { ...said.unknown, ...toldValues(params) } }] : []
  })
  const values = Object.fromEntries(
    known.flatMap(({ params }, i) =>
      Object.entries(params).map(([key, value]) => [`told${i}_${key}`, wordOf(language, key, value)]),
    ),
  )
  const paragraphs = known.map(({ title, text }, i) => `${title}. ${text.replace(/\{(\w+)\}/g, `{told${i}_$1}`)}`)
  const { one, many } = DIGEST[language]
  const subject =
    told.length === 1 && known[0]
      ? one.replace(
          '{title}',
          known[0].title.replace(/^./, (c) => c.toLowerCase()),
        )
      : many
  return { template: { subject, paragraphs: [...paragraphs, LIST[language]] }, values }
}
