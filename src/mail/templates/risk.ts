import type { MailKind, Template } from './template.ts'

type Risk = Record<Extract<MailKind, 'login_code'>, Template>

/** The mails of risky logins, in both languages. */
export const risk: { en: Risk; es: Risk } = {
  en: {
    login_code: {
      subject: '{tenant}: the code for your login',
      paragraphs: [
        'Somebody, hopefully you, logged in to your account at {tenant}, from the network {network}. That is unusual for your account, so this code is needed, too:',
        '{code}',
        'It works once, until {expires_at}, and only where it was asked for. Tell nobody the code: we never ask for it.',
        'If that was not you, somebody knows your password, or the one of the service that you log in with: change it now. Without the code they do not get in.',
      ],
    },
  },
  es: {
    login_code: {
      subject: '{tenant}: el código para tu acceso',
      paragraphs: [
        'Alguien, esperamos que tú, entró en tu cuenta de {tenant} desde la red {network}. Es inusual para tu cuenta, así que también hace falta este código:',
        '{code}',
        'Funciona una vez, hasta el {expires_at}, y solo donde se pidió. No digas el código a nadie: nunca lo pedimos.',
        'Si no fuiste tú, alguien conoce tu contraseña, o la del servicio con el que entras: cámbiala ahora. Sin el código no entra.',
      ],
    },
  },
}

/** What the signs of a risky login are called in a sentence (src/risk). */
const REASONS: { [reason: string]: readonly [string, string] } = {
  new_device: ['a new device', 'un dispositivo nuevo'],
  new_country: ['a new country', 'un país nuevo'],
  new_network: ['a new network', 'una red nueva'],
  impossible_travel: ['too far from the login before', 'demasiado lejos del acceso anterior'],
  failures: ['wrong passwords before', 'contraseñas incorrectas antes'],
  unusual_hour: ['an unusual hour', 'una hora inusual'],
  foreign_token: ['a token of somebody else from the same network', 'un token ajeno desde la misma red'],
  many_accounts: ['many accounts tried from the same network', 'muchas cuentas probadas desde la misma red'],
  breached_password: ['a password known from a breach', 'una contraseña conocida por una filtración'],
}

/** Names of signs, with commas between them, as words; what this release does not know stays as it is. */
export const reasonsIn = (language: 'en' | 'es', names: string): string =>
  names
    .split(',')
    .map((name) => (Object.hasOwn(REASONS, name) ? REASONS[name]?.[language === 'es' ? 1 : 0] : name))
    .join(', ')
