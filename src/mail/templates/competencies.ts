import type { MailKind, Template } from './template.ts'

type Competencies = Record<Extract<MailKind, `competency${string}`>, Template>

/** The mails of competencies that end soon, in both languages. */
export const competencies: { en: Competencies; es: Competencies } = {
  en: {
    competency_expires: {
      subject: '{tenant}: competencies of yours expire soon',
      paragraphs: [
        'These of your competencies at {tenant} expire soon; the day is beside each: {competencies}.',
        'Renew them in time, and have the new ones recorded and verified. What takes one of them is refused to you once it has expired.',
      ],
    },
    competency_expires_of_other: {
      subject: '{tenant}: competencies in your team expire soon',
      paragraphs: [
        'You are the manager of {person} at {tenant}. These of their competencies expire soon; the day is beside each: {competencies}.',
        'See to it that they are renewed in time. What takes one of them is refused to {person} once it has expired.',
      ],
    },
  },
  es: {
    competency_expires: {
      subject: '{tenant}: pronto vencen competencias tuyas',
      paragraphs: [
        'Estas competencias tuyas en {tenant} vencen pronto; el día está junto a cada una: {competencies}.',
        'Renuévalas a tiempo, y haz que las nuevas se registren y verifiquen. Lo que exige una de ellas se te deniega cuando ha vencido.',
      ],
    },
    competency_expires_of_other: {
      subject: '{tenant}: pronto vencen competencias en tu equipo',
      paragraphs: [
        'Eres responsable de {person} en {tenant}. Estas competencias suyas vencen pronto; el día está junto a cada una: {competencies}.',
        'Encárgate de que se renueven a tiempo. Lo que exige una de ellas se le deniega a {person} cuando ha vencido.',
      ],
    },
  },
}
