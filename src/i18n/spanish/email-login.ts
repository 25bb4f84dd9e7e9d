/** Sentences of logins by mail (src/email-login): English -> Spanish. */
export const emailLogin = {
  'This tenant does not allow logins by mail: its setting email_login is off.':
    'Este inquilino no permite entrar por correo: su ajuste email_login está desactivado.',
  'must be 8 digits': 'debe tener 8 cifras',
  'give either code or token': 'envía code o token, uno de los dos',
  'is needed with a code: it is in the answer to auth/email-login':
    'hace falta con un código: está en la respuesta de auth/email-login',
  'works only in the browser that asked for it: enter it there, or open the link of the mail':
    'solo funciona en el navegador que lo pidió: introdúcelo allí o abre el enlace del correo',
  'The code or the link is not valid, was used or is over: ask for another one.':
    'El código o el enlace no es válido, ya se usó o ha terminado: pide otro.',
}
