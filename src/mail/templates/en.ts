import type { Locale } from './template.ts'

export const en: Locale = {
  greeting: 'Hello {name},',
  greeting_unnamed: 'Hello,',
  footer: 'Sent by {tenant}, {url}. Nobody reads answers to this mail.',
  mails: {
    account_locked: {
      subject: '{tenant}: your account is locked',
      paragraphs: [
        'Somebody tried to log in to your account at {tenant} with a wrong password too often. Nobody can log in to it until {until}.',
        'If that was you, wait until then, or ask for a new password on the login page: that unlocks the account. If it was not you, nobody got in, and there is nothing that you must do.',
      ],
    },
    password_changed: {
      subject: '{tenant}: your password was changed',
      paragraphs: [
        'The password of your account at {tenant} was changed, and your other sessions were ended.',
        'If that was not you, ask for a new password on the login page at once, and tell your administrator.',
      ],
    },
    password_expires: {
      subject: '{tenant}: your password expires soon',
      paragraphs: [
        'The password of your account at {tenant} expires on {expires_at}.',
        'Change it before then. Afterwards you are asked for a new one before you can do anything else.',
      ],
    },
    password_reset: {
      subject: '{tenant}: choose a new password',
      paragraphs: [
        'Somebody, hopefully you, asked for a new password for your account at {tenant}. Choose it here within an hour:',
        '{link}',
        'If that was not you, do nothing: your password stays as it is.',
      ],
      action: 'Choose a new password',
    },
    password_reset_by_admin: {
      subject: '{tenant}: your password was reset',
      paragraphs: [
        'An administrator of {tenant} reset the password of your account. Choose your own here:',
        '{link}',
        'If you do not know why, ask your administrator.',
      ],
      action: 'Choose your password',
    },
    register: {
      subject: '{tenant}: confirm your address',
      paragraphs: [
        'Somebody, hopefully you, registered at {tenant} with this address. Confirm that it is yours:',
        '{link}',
        'If that was not you, do nothing: no account is opened.',
      ],
      action: 'Confirm my address',
    },
    register_known: {
      subject: '{tenant}: you have an account already',
      paragraphs: [
        'Somebody, hopefully you, tried to register at {tenant} with this address, which has an account already.',
        'If that was you, log in at {url}, or ask for a new password there. If it was not you, there is nothing that you must do.',
      ],
    },
    email_verify: {
      subject: '{tenant}: confirm your address',
      paragraphs: ['Confirm that this is the address of your account at {tenant}:', '{link}'],
      action: 'Confirm my address',
    },
    email_change: {
      subject: '{tenant}: confirm your new address',
      paragraphs: [
        'This is to be the new address of your account at {tenant}. It is changed when you confirm it:',
        '{link}',
        'If you did not ask for that, do nothing: this address is not used.',
      ],
      action: 'Confirm my new address',
    },
    email_changed: {
      subject: '{tenant}: your address was changed',
      paragraphs: [
        'The address of your account at {tenant} is {new_email} from now on. This is the last mail to the old one.',
        'If that was not you, tell your administrator at once.',
      ],
    },
    phone_code: {
      subject: '{tenant}: your code',
      paragraphs: ['{code} is your code for {tenant}. Give it to nobody.'],
    },
  },
}
