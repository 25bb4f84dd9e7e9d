/** Sentences of second factors (src/factors): English -> Spanish. */
export const factors = {
  'must be 6 digits': 'debe tener 6 cifras',
  'must be 6 digits, or a backup code': 'debe tener 6 cifras, o ser un código de respaldo',
  'must be a backup code such as 7Q2M-XK4D-9RTP': 'debe ser un código de respaldo como 7Q2M-XK4D-9RTP',
  'give one of code, backup_code, email_code and passkey': 'envía code, backup_code, email_code o passkey, uno de los cuatro',
  'give one of password, code, backup_code and passkey': 'envía password, code, backup_code o passkey, uno de los cuatro',
  'The proof is not right, or was used before.': 'La prueba no es correcta o ya se usó.',
  'is only for logins': 'solo vale para inicios de sesión',
  'is no host of this tenant, or its name is not kept any more': 'no es un host de este inquilino, o ya no conserva su nombre',
  'give either code or backup_code': 'envía code o backup_code, uno de los dos',
  'is needed to switch an authenticator app on': 'hace falta para activar una aplicación de autenticación',
  'The code is not valid or was used, or this login has ended: log in again after several failures.':
    'El código no es válido o ya se usó, o este inicio de sesión ha terminado: tras varios fallos, vuelve a empezar.',
  'This login has ended: log in again.': 'Este inicio de sesión ha terminado: vuelve a empezar.',
  'A code was mailed just now: wait for the seconds in Retry-After.':
    'Se acaba de enviar un código: espera los segundos de Retry-After.',
  'No further code is mailed for this login: enter the newest one, or log in again.':
    'No se envían más códigos para este inicio de sesión: introduce el último o vuelve a empezar.',
  'This login asks for a second factor: no code is mailed for it.':
    'Este inicio de sesión pide un segundo factor: no se envía ningún código para él.',
  'The code is not right: check the clock of the device.': 'El código no es correcto: comprueba el reloj del dispositivo.',
  'The password or the code is not right.': 'La contraseña o el código no es correcto.',
  'Another setup was begun meanwhile: use its code.': 'Entre tanto se empezó otra configuración: usa su código.',
  'An authenticator app is set up already: switch it off first.':
    'Ya hay una aplicación de autenticación configurada: desactívala antes.',
  'Begin with auth/mfa/setup.': 'Empieza con auth/mfa/setup.',
  'This user has no second factor.': 'Esta persona no tiene un segundo factor.',
  'Switch your own second factor off with auth/mfa/disable.': 'Desactiva tu propio segundo factor con auth/mfa/disable.',
  'No authenticator app is set up.': 'No hay ninguna aplicación de autenticación configurada.',
  'This user has a second factor, which this grant cannot take: log in at auth/login.':
    'Esta persona tiene un segundo factor, que esta concesión no admite: inicia sesión en auth/login.',
}
