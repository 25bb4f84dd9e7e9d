import { competencies } from './competencies.ts'
import { invitations } from './invitations.ts'
import { risk } from './risk.ts'
import type { MailLanguage } from './template.ts'

export const es: MailLanguage = {
  greeting: 'Hola, {name}:',
  greeting_unnamed: 'Hola:',
  footer: 'Enviado por {tenant}, {url}. Las respuestas a este correo no se leen.',
  mails: {
    account_locked: {
      subject: '{tenant}: demasiadas contraseñas equivocadas en tu cuenta',
      paragraphs: [
        'Alguien intentó entrar en tu cuenta de {tenant} con una contraseña equivocada demasiadas veces, desde la red {network}. Hasta el {until} nadie puede entrar en ella desde allí; tras muchos intentos más, desde ningún dispositivo que no haya entrado antes.',
        'Si fuiste tú, espera hasta entonces o restablece tu contraseña en la página de acceso, lo que desbloquea la cuenta. Si no fuiste tú, nadie ha entrado y no tienes que hacer nada: donde ya entraste antes, puedes seguir entrando.',
      ],
    },
    device_locked: {
      subject: '{tenant}: demasiadas contraseñas equivocadas en tu dispositivo',
      paragraphs: [
        'Alguien intentó entrar en tu cuenta de {tenant} con una contraseña equivocada demasiadas veces, en un dispositivo en el que ya habías entrado. Hasta el {until} nadie puede entrar en ella desde ese dispositivo.',
        'Si fuiste tú, espera hasta entonces o restablece tu contraseña en la página de acceso, lo que desbloquea la cuenta. Si no fuiste tú, otra persona tiene el dispositivo: cambia tu contraseña y el dispositivo pasará a ser desconocido.',
      ],
    },
    api_key_created: {
      subject: '{tenant}: una nueva clave de API',
      paragraphs: [
        'Se ha creado una clave de API con el nombre {key_name} para tu cuenta de {tenant}. Quien la tenga puede actuar en tu nombre. Empieza por fh_{prefix}.',
        'Si no la creaste tú, revócala, cambia tu contraseña y avisa a tu administrador.',
      ],
    },
    license_ends: {
      subject: '{tenant}: una licencia termina pronto',
      paragraphs: [
        'La licencia de {organization} en {tenant} termina el {expires_at}, y no le sigue otra.',
        'Sin una nueva, desde el {read_only_from} {organization} solo se puede leer y exportar: se puede seguir entrando y quitar accesos, pero no crear ni cambiar nada. Pide la siguiente a quien te dio la licencia.',
      ],
    },
    identity_added: {
      subject: '{tenant}: una nueva forma de iniciar sesión',
      paragraphs: [
        'Ahora también se puede entrar en tu cuenta de {tenant} con {provider}, sin tu contraseña.',
        'Si no lo añadiste tú, entra y quítalo, cambia tu contraseña y avisa a tu administrador.',
      ],
    },
    identity_removed: {
      subject: '{tenant}: se quitó una forma de iniciar sesión',
      paragraphs: [
        'Ya no se puede entrar en tu cuenta de {tenant} con esta identidad de {provider}.',
        'Si no la quitaste tú, entra y revisa la página de tu cuenta, cambia tu contraseña y avisa a tu administrador.',
      ],
    },
    passkey_added: {
      subject: '{tenant}: una nueva llave de acceso',
      paragraphs: [
        'Se añadió a tu cuenta de {tenant} una llave de acceso con el nombre {passkey_name}. Quien tenga el dispositivo que la guarda puede entrar con ella, sin tu contraseña.',
        'Si no la añadiste tú, entra y quítala en la página de tu cuenta, cambia tu contraseña y avisa a tu administrador.',
      ],
    },
    passkey_copied: {
      subject: '{tenant}: puede que haya una copia de una llave de acceso',
      paragraphs: [
        'Se rechazó un inicio de sesión en tu cuenta de {tenant} con la llave de acceso {passkey_name}, porque dice que se ha usado menos veces que antes: puede que haya dos.',
        'Inicia sesión de otra forma, quita esta llave de acceso en la página de tu cuenta y avisa a tu administrador.',
      ],
    },
    passkey_removed: {
      subject: '{tenant}: se quitó una llave de acceso',
      paragraphs: [
        'Se quitó de tu cuenta de {tenant} la llave de acceso con el nombre {passkey_name}. Ya nadie puede entrar con ella.',
        'Si no la quitaste tú, entra y revisa la página de tu cuenta, cambia tu contraseña y avisa a tu administrador.',
      ],
    },
    mfa_enabled: {
      subject: '{tenant}: ahora necesitas un código para entrar',
      paragraphs: [
        'Se ha configurado una aplicación de autenticación para tu cuenta de {tenant}. Desde ahora, para entrar hacen falta tu contraseña y un código de la aplicación.',
        'Si no fuiste tú, otra persona ha entrado con tu cuenta: avisa de inmediato a tu administrador.',
      ],
    },
    mfa_disabled: {
      subject: '{tenant}: ya no necesitas un código para entrar',
      paragraphs: [
        'Se ha desactivado la aplicación de autenticación de tu cuenta de {tenant}. Desde ahora, para entrar basta tu contraseña.',
        'Si no fuiste tú, cambia tu contraseña de inmediato y avisa a tu administrador.',
      ],
    },
    mfa_reset: {
      subject: '{tenant}: se ha quitado tu segundo factor',
      paragraphs: [
        'Un administrador de {tenant} ha quitado el segundo factor de tu cuenta y se han cerrado todas tus sesiones. Desde ahora, para entrar basta tu contraseña. Configura de nuevo una aplicación de autenticación la próxima vez que entres.',
        'Si no lo pediste, cambia tu contraseña de inmediato y avisa a tu administrador.',
      ],
    },
    password_changed: {
      subject: '{tenant}: tu contraseña ha cambiado',
      paragraphs: [
        'La contraseña de tu cuenta de {tenant} ha cambiado y se han cerrado tus demás sesiones.',
        'Si no fuiste tú, restablece tu contraseña de inmediato en la página de acceso y avisa a tu administrador.',
      ],
    },
    password_expires: {
      subject: '{tenant}: tu contraseña caduca pronto',
      paragraphs: [
        'La contraseña de tu cuenta de {tenant} caduca el {expires_at}.',
        'Cámbiala antes. Después tendrás que elegir una nueva antes de poder hacer cualquier otra cosa.',
      ],
    },
    password_reset: {
      subject: '{tenant}: elige una contraseña nueva',
      paragraphs: [
        'Alguien, esperamos que tú, pidió restablecer la contraseña de tu cuenta de {tenant}. Elige una nueva aquí:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'El enlace funciona hasta el {expires_at}, salvo que recibas otro antes.',
        'Si no fuiste tú, no hagas nada: tu contraseña sigue igual.',
      ],
      action: 'Elegir una contraseña nueva',
    },
    password_reset_by_admin: {
      subject: '{tenant}: tu contraseña fue restablecida',
      paragraphs: [
        'Un administrador de {tenant} restableció la contraseña de tu cuenta. Elige una nueva aquí:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'El enlace funciona hasta el {expires_at}. Después, pide otro en la página de acceso.',
        'Si no sabes por qué, pregunta a tu administrador.',
      ],
      action: 'Elegir mi contraseña',
    },
    password_reset_link: {
      subject: '{tenant}: elige una contraseña nueva',
      paragraphs: [
        'Un administrador de {tenant} te pide que elijas una contraseña nueva para tu cuenta. Hazlo aquí:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'El enlace funciona hasta el {expires_at}. Tu contraseña sigue igual hasta que elijas otra. Si no sabes por qué, pregunta a tu administrador.',
      ],
      action: 'Elegir una contraseña nueva',
    },
    ...competencies.es,
    ...risk.es,
    ...invitations.es,
    // Its paragraphs are those of what it lists (told.ts).
    notifications: {
      subject: '{tenant}: novedades para ti',
      paragraphs: ['Hay novedades para ti en {tenant}: {url}/account/notifications'],
    },
    register: {
      subject: '{tenant}: confirma tu dirección',
      paragraphs: [
        'Alguien, esperamos que tú, se registró en {tenant} con esta dirección. Confirma que es tuya:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'Si no fuiste tú, no hagas nada: no se crea ninguna cuenta.',
      ],
      action: 'Confirmar mi dirección',
    },
    register_known: {
      subject: '{tenant}: ya tienes una cuenta',
      paragraphs: [
        'Alguien, esperamos que tú, intentó registrarse en {tenant} con esta dirección, que ya tiene una cuenta.',
        'Si fuiste tú, entra en {login} o restablece allí tu contraseña. Si no fuiste tú, no tienes que hacer nada.',
      ],
    },
    email_login: {
      subject: '{tenant}: tu código para entrar',
      paragraphs: [
        'Alguien, esperamos que tú, quiere entrar en tu cuenta de {tenant}, desde la red {network}. Introduce este código donde lo pediste:',
        '{code}',
        'O sigue este enlace:',
        '{link}',
        'Ambos funcionan una vez, hasta el {expires_at}, salvo que pidas otro antes. No digas el código a nadie: nunca lo pedimos.',
        'Si no fuiste tú, no hagas nada: nadie entra sin el código.',
      ],
      action: 'Entrar',
    },
    email_verify: {
      subject: '{tenant}: confirma tu dirección',
      paragraphs: [
        'Confirma que esta es la dirección de tu cuenta de {tenant}:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
      ],
      action: 'Confirmar mi dirección',
    },
    email_change: {
      subject: '{tenant}: confirma tu dirección nueva',
      paragraphs: [
        'Confirma que esta es la dirección nueva de tu cuenta de {tenant}. Solo cambia cuando la confirmes:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'Si no lo pediste, no hagas nada: la dirección no cambia.',
      ],
      action: 'Confirmar mi dirección nueva',
    },
    email_changed: {
      subject: '{tenant}: tu dirección ha cambiado',
      paragraphs: [
        'Desde ahora, la dirección de tu cuenta de {tenant} es {new_email}. Este es el último correo a la anterior.',
        'Si no fuiste tú, avisa de inmediato a tu administrador.',
      ],
    },
    phone_code: {
      subject: '{tenant}: tu código',
      paragraphs: ['{code} es tu código para {tenant}. No lo compartas con nadie.'],
    },
    erasure_requested: {
      subject: '{tenant}: tu cuenta se borrará',
      paragraphs: [
        'Pediste a {tenant} que borre tu cuenta y todo lo que dice quién eres. Eso ocurrirá el {erase_at}. Hasta entonces puedes iniciar sesión como siempre, y cancelarlo aquí:',
        '{link}',
        'Si la página pide un código, es este:',
        '{token}',
        'Si no fuiste tú, cancélalo ahora y luego elige otra contraseña: alguien más entró en tu cuenta. Cuando se borre no recibirás otro correo.',
      ],
      action: 'Conservar mi cuenta',
    },
    erasure_by_admin: {
      subject: '{tenant}: tu cuenta se borrará',
      paragraphs: [
        'Un administrador de {tenant} pidió borrar tu cuenta y todo lo que dice quién eres. Eso ocurrirá el {erase_at}.',
        'Si no sabes por qué, pregunta a tu administrador, que puede cancelarlo hasta entonces. Cuando se borre no recibirás otro correo.',
      ],
    },
    impersonated: {
      subject: '{tenant}: alguien actúa como tú',
      paragraphs: [
        '{impersonator} ha empezado a actuar como tú en {tenant}, para ayudarte, hasta {until}.',
        'El motivo que dio: {reason}',
        'No puede cambiar cómo entras. Tus sesiones lo muestran, y ahí puedes terminarlo cuando quieras. Si no lo esperabas, hazlo y pregunta a tu administrador.',
      ],
    },
    erasure_cancelled: {
      subject: '{tenant}: tu cuenta se queda',
      paragraphs: [
        'La petición de borrar tu cuenta de {tenant} se canceló. No se borró nada.',
        'Si no fuiste tú, avisa de inmediato a tu administrador.',
      ],
    },
  },
}
