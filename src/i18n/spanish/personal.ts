/** Sentences of a person's own data (src/personal): English -> Spanish. */
export const personal = {
  'This user has been erased.': 'Esta persona fue borrada.',
  'This user has been erased already.': 'Esta persona ya fue borrada.',
  'The last administrator cannot be erased: make somebody else one first.':
    'El último administrador no se puede borrar: antes nombra a otra persona.',
  'It has been asked for already: cancel that request first.': 'Ya se pidió: cancela antes esa petición.',
  'Erase your own account with auth/me/erase.': 'Borra tu propia cuenta con auth/me/erase.',
  'An administrator asked for this: only an administrator can cancel it.':
    'Lo pidió un administrador: solo un administrador puede cancelarlo.',
  'Nobody has asked to erase your account.': 'Nadie ha pedido borrar tu cuenta.',
  'Nobody has asked to erase this user.': 'Nadie ha pedido borrar a esta persona.',
  'Your account is erased with a session, not with an API key.': 'Tu cuenta se borra con una sesión, no con una clave de API.',
  'Your data is exported with a session, not with an API key.': 'Tus datos se exportan con una sesión, no con una clave de API.',
  'You change yourself with a session, not with an API key.': 'Tus datos se cambian con una sesión, no con una clave de API.',
  'Your data was exported ten times within the hour.': 'Tus datos se exportaron diez veces en esta hora.',
  'is not valid, or was used': 'no es válido o ya se usó',
}
