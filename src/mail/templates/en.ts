import { competencies } from './competencies.ts'
import { invitations } from './invitations.ts'
import { risk } from './risk.ts'
import type { MailLanguage } from './template.ts'

export const en: MailLanguage = {
  greeting: 'Hello {name},',
  greeting_unnamed: 'Hello,',
  footer: 'Sent by {tenant}, {url}. Replies to this mail are not read.',
  mails: {
    account_locked: {
      subject: '{tenant}: too many wrong passwords for your account',
      paragraphs: [
        'Somebody tried to log in to your account at {tenant} with a wrong password too many times, from the network {network}. Until {until} nobody can log in to it from there; after many more tries, from no device that has not logged in before.',
        'If that was you, wait until then, or reset your password on the login page, which unlocks the account. If it was not you, nobody got in, and you do not have to do anything: where you logged in before, you still can.',
      ],
    },
    device_locked: {
      subject: '{tenant}: too many wrong passwords on your device',
      paragraphs: [
        'Somebody tried to log in to your account at {tenant} with a wrong password too many times, on a device on which you logged in before. Until {until} nobody can log in to it from that device.',
        'If that was you, wait until then, or reset your password on the login page, which unlocks the account. If it was not you, somebody else has the device: change your password, and the device counts as unknown.',
      ],
    },
    api_key_created: {
      subject: '{tenant}: a new API key',
      paragraphs: [
        'An API key with the name {key_name} was created for your account at {tenant}. Whatever has it can act for you. It begins with fh_{prefix}.',
        'If you did not create it, revoke it, change your password, and tell your administrator.',
      ],
    },
    license_ends: {
      subject: '{tenant}: a license ends soon',
      paragraphs: [
        'The license of {organization} at {tenant} ends on {expires_at}, and no other follows it.',
        'Without a new one {organization} can only be read and exported from {read_only_from} on: people still log in, and access can be ended, but nothing can be created or changed. Ask whoever gave you the license for the next one.',
      ],
    },
    identity_added: {
      subject: '{tenant}: a new way to log in',
      paragraphs: [
        'Your account at {tenant} can now be logged in to with {provider} as well, without your password.',
        'If you did not add this, log in and remove it, change your password, and tell your administrator.',
      ],
    },
    identity_removed: {
      subject: '{tenant}: a way to log in was removed',
      paragraphs: [
        'Your account at {tenant} can no longer be logged in to with this identity of {provider}.',
        'If you did not remove it, log in and look through the page of your account, change your password, and tell your administrator.',
      ],
    },
    passkey_added: {
      subject: '{tenant}: a new passkey',
      paragraphs: [
        'A passkey with the name {passkey_name} was added to your account at {tenant}. Whoever holds the device that has it can log in with it, without your password.',
        'If you did not add it, log in and remove it on the page of your account, change your password, and tell your administrator.',
      ],
    },
    passkey_copied: {
      subject: '{tenant}: a passkey may have been copied',
      paragraphs: [
        'A login to your account at {tenant} with the passkey {passkey_name} was refused, because it says that it was used less often than before: there may be two of it.',
        'Log in otherwise, remove this passkey on the page of your account, and tell your administrator.',
      ],
    },
    passkey_removed: {
      subject: '{tenant}: a passkey was removed',
      paragraphs: [
        'The passkey with the name {passkey_name} was removed from your account at {tenant}. It does not log anybody in any more.',
        'If you did not remove it, log in and look through the page of your account, change your password, and tell your administrator.',
      ],
    },
    mfa_enabled: {
      subject: '{tenant}: your login now needs a code',
      paragraphs: [
        'An authenticator app was set up for your account at {tenant}. From now on a login needs your password and a code of the app.',
        'If that was not you, somebody else is logged in as you: tell your administrator at once.',
      ],
    },
    mfa_disabled: {
      subject: '{tenant}: your login no longer needs a code',
      paragraphs: [
        'The authenticator app of your account at {tenant} was switched off. From now on a login needs your password alone.',
        'If that was not you, change your password at once, and tell your administrator.',
      ],
    },
    mfa_reset: {
      subject: '{tenant}: your second factor was removed',
      paragraphs: [
        'An administrator of {tenant} removed the second factor of your account, and you were logged out everywhere. From now on a login needs your password alone. Set up an authenticator app again at your next login.',
        'If you did not ask for this, change your password at once, and tell your administrator.',
      ],
    },
    password_changed: {
      subject: '{tenant}: your password was changed',
      paragraphs: [
        'The password of your account at {tenant} was changed, and you were logged out everywhere else.',
        'If that was not you, reset your password on the login page at once, and tell your administrator.',
      ],
    },
    password_expires: {
      subject: '{tenant}: your password expires soon',
      paragraphs: [
        'The password of your account at {tenant} expires on {expires_at}.',
        'Change it before then. After that you must choose a new one before you can do anything else.',
      ],
    },
    password_reset: {
      subject: '{tenant}: choose a new password',
      paragraphs: [
        'Somebody, hopefully you, asked to reset the password of your account at {tenant}. Choose a new one here:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'The link works until {expires_at}, unless you get another one before.',
        'If that was not you, do nothing: your password stays as it is.',
      ],
      action: 'Choose a new password',
    },
    password_reset_by_admin: {
      subject: '{tenant}: your password was reset',
      paragraphs: [
        'An administrator of {tenant} reset the password of your account. Choose a new one here:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'The link works until {expires_at}. After that, ask for another one on the login page.',
        'If you do not know why, ask your administrator.',
      ],
      action: 'Choose your password',
    },
    password_reset_link: {
      subject: '{tenant}: choose a new password',
      paragraphs: [
        'An administrator of {tenant} asks you to choose a new password for your account. Do it here:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'The link works until {expires_at}. Your password stays as it is until you have chosen another. If you do not know why, ask your administrator.',
      ],
      action: 'Choose a new password',
    },
    ...competencies.en,
    ...risk.en,
    ...invitations.en,
    // Its paragraphs are those of what it lists (told.ts).
    notifications: {
      subject: '{tenant}: what is new for you',
      paragraphs: ['There is something new for you at {tenant}: {url}/account/notifications'],
    },
    register: {
      subject: '{tenant}: confirm your address',
      paragraphs: [
        'Somebody, hopefully you, registered at {tenant} with this address. Confirm that it is yours:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'If that was not you, do nothing: no account is created.',
      ],
      action: 'Confirm my address',
    },
    register_known: {
      subject: '{tenant}: you already have an account',
      paragraphs: [
        'Somebody, hopefully you, tried to register at {tenant} with this address, which already has an account.',
        'If that was you, log in at {login}, or reset your password there. If it was not you, you do not have to do anything.',
      ],
    },
    email_login: {
      subject: '{tenant}: your code to log in',
      paragraphs: [
        'Somebody, hopefully you, wants to log in to your account at {tenant}, from the network {network}. Enter this code where you asked for it:',
        '{code}',
        'Or follow this link:',
        '{link}',
        'Both work once, until {expires_at}, unless you ask for another one before. Tell nobody the code: we never ask for it.',
        'If that was not you, do nothing: nobody gets in without the code.',
      ],
      action: 'Log in',
    },
    email_verify: {
      subject: '{tenant}: confirm your address',
      paragraphs: [
        'Confirm that this is the address of your account at {tenant}:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
      ],
      action: 'Confirm my address',
    },
    email_change: {
      subject: '{tenant}: confirm your new address',
      paragraphs: [
        'Confirm this as the new address of your account at {tenant}. It changes only when you confirm it:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'If you did not ask for this, do nothing: the address does not change.',
      ],
      action: 'Confirm my new address',
    },
    email_changed: {
      subject: '{tenant}: your address was changed',
      paragraphs: [
        'The address of your account at {tenant} is now {new_email}. This is the last mail to the old one.',
        'If that was not you, tell your administrator at once.',
      ],
    },
    phone_code: {
      subject: '{tenant}: your code',
      paragraphs: ['{code} is your code for {tenant}. Do not share it with anybody.'],
    },
    erasure_requested: {
      subject: '{tenant}: your account will be erased',
      paragraphs: [
        'You asked {tenant} to erase your account, and everything that says who you are. That happens at {erase_at}. Until then you can log in as before, and cancel it here:',
        '{link}',
        'If the page asks for a code, it is this one:',
        '{token}',
        'If that was not you, cancel it now, and then set a new password: somebody else was in your account. When it is erased you get no other mail.',
      ],
      action: 'Keep my account',
    },
    erasure_by_admin: {
      subject: '{tenant}: your account will be erased',
      paragraphs: [
        'An administrator of {tenant} asked to erase your account, and everything that says who you are. That happens at {erase_at}.',
        'If you do not know why, ask your administrator, who can cancel it until then. When it is erased you get no other mail.',
      ],
    },
    impersonated: {
      subject: '{tenant}: somebody acts as you',
      paragraphs: [
        '{impersonator} has begun to act as you at {tenant}, to help you, until {until}.',
        'The reason that they gave: {reason}',
        'They cannot change how you log in. Your sessions show it, where you can end it at any time. If you did not expect this, do so, and ask your administrator.',
      ],
    },
    erasure_cancelled: {
      subject: '{tenant}: your account stays',
      paragraphs: [
        'The request to erase your account at {tenant} was cancelled. Nothing was erased.',
        'If that was not you, tell your administrator at once.',
      ],
    },
  },
}
