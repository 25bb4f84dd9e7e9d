import type { MailKind, Template } from './template.ts'

type Invitations = Record<Extract<MailKind, `invitation${string}`>, Template>

/** The mails of invitations, in both languages. */
export const invitations: { en: Invitations; es: Invitations } = {
  en: {
    invitation: {
      subject: 'You are invited to {tenant}',
      paragraphs: [
        '{inviter} invites you to {tenant}. Here you accept, and choose how you log in:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'The link works once, until {expires_at}. If you do not know {inviter}, do nothing: nothing happens without you.',
      ],
      action: 'See the invitation',
    },
    invitation_to_organization: {
      subject: 'You are invited to {tenant}',
      paragraphs: [
        '{inviter} invites you to {organization} at {tenant}. Here you accept; if you have an account at {tenant}, log in with it first:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'The link works once, until {expires_at}. If you do not know {inviter}, do nothing: nothing happens without you.',
      ],
      action: 'See the invitation',
    },
    invitation_accepted: {
      subject: 'Your invitation to {tenant} was accepted',
      paragraphs: [
        '{accepted_by} has accepted your invitation, and belongs to {tenant} now.',
        'If you invited nobody with this address, tell an administrator of {tenant}.',
      ],
    },
  },
  es: {
    invitation: {
      subject: 'Te invitan a {tenant}',
      paragraphs: [
        '{inviter} te invita a {tenant}. Aquí puedes aceptar y elegir cómo entras:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'El enlace funciona una vez, hasta el {expires_at}. Si no conoces a {inviter}, no hagas nada: sin ti no pasa nada.',
      ],
      action: 'Ver la invitación',
    },
    invitation_to_organization: {
      subject: 'Te invitan a {tenant}',
      paragraphs: [
        '{inviter} te invita a {organization}, en {tenant}. Aquí puedes aceptar; si ya tienes una cuenta en {tenant}, entra antes con ella:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'El enlace funciona una vez, hasta el {expires_at}. Si no conoces a {inviter}, no hagas nada: sin ti no pasa nada.',
      ],
      action: 'Ver la invitación',
    },
    invitation_accepted: {
      subject: 'Han aceptado tu invitación a {tenant}',
      paragraphs: [
        '{accepted_by} ha aceptado tu invitación y ya forma parte de {tenant}.',
        'Si no invitaste a nadie con esta dirección, avisa a un administrador de {tenant}.',
      ],
    },
  },
}
